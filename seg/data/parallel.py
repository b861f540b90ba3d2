"""Reading many samples at once, with a progress bar."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

from seg.data.sample import DataError, Sample, several

Item = TypeVar("Item", bound=Sample)
Result = TypeVar("Result")

REMEDY = "Repair or remove them; `python -m study.check SPEC --data DIR` lists them all."


def read_all(
    function: Callable[[Item], Result], samples: Sequence[Item], label: str, progress: bool
) -> Iterator[Result]:
    """`function` of each sample, in order. Every sample is tried; one DataError at the end for all that failed."""
    problems = []
    for result in try_all(function, samples, label, progress):
        if isinstance(result, DataError):
            problems.append(str(result))
        else:
            yield result
    if problems:
        raise several(problems, f"of {len(samples)} images cannot be used", REMEDY)


def try_all(
    function: Callable[[Item], Result], samples: Sequence[Item], label: str, progress: bool
) -> Iterator[Result | DataError]:
    """`function` of each sample, in order, or the DataError it raised.

    Threads: decoding, resizing and hashing happen outside Python's lock, and nothing needs copying back.
    """

    def attempt(sample: Item) -> Result | DataError:
        try:
            return function(sample)
        except DataError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        try:
            results = threads.map(attempt, samples)
            # disable=None: no bar where stderr is not a terminal
            yield from tqdm(
                results, label, len(samples), unit=" images", leave=False, disable=None if progress else True
            )
        finally:
            threads.shutdown(cancel_futures=True)  # Ctrl-C or a full disk must not wait for the rest
