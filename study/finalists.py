"""The sealed test split, opened once: finalists are scored on it, after the search has ended.

Where trials trained: in this process where that was on this machine, else in one Ray actor; on one GPU at most.
"""

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import ray
import torch

from seg import evaluate, metrics, pixels, predict, trivial
from seg.data.sample import Dataset
from seg.metrics import Counts
from seg.native import NativeCounts
from seg.ranks import Ranks
from study import counts, duel, gallery, supplies
from study.messages import LaneSettings
from study.records import Record
from study.store import Store

ATTEMPTS = 3
"""With new actors, where a node is lost."""
BATCH = 4
"""Images that are sent at a time."""
AHEAD = 2
"""Batches that are sent before the first of them is scored: memory is bounded, reading and scoring overlap."""


@dataclass(frozen=True)
class Scored:
    """What scoring found of a trial."""

    scores: dict[str, float]
    files: dict[str, str]
    """That the counts went to, as records name them."""


Image = tuple[np.ndarray, np.ndarray]
"""Colours (H, W, 3) and mask (H, W), at native size."""


def score(
    settings: LaneSettings, dataset: Dataset, records: list[Record], leading: list[Record], joined: bool
) -> tuple[dict[int, Scored], dict[str, Counts]]:
    """Test scores of each trial, at training size and, as `native_*`, at the masks' own size; and by name, at native
    size, the counts of what no training gives (seg.trivial). Blocks until done.

    Counts of every image go to the store; of the first of those `leading`, its weights under the study's own name, and
    a gallery; of the first two, pictures of what the one sees and the other does not. Only this process needs the
    data: images are read here, once for all trials, and handed to where they are scored, which is another machine's
    process where the study has `joined` a cluster.
    """
    if not joined:
        return _score(_here(settings, dataset, records), dataset, leading)
    for left in reversed(range(ATTEMPTS)):
        try:
            return _score(_actor(settings, dataset, records), dataset, leading)
        except ray.exceptions.RayActorError:
            if not left:
                raise
    raise AssertionError


def _here(settings: LaneSettings, dataset: Dataset, records: list[Record]) -> Callable[..., Future[Any]]:
    """On the main thread, where Ctrl-C ends it."""
    scorer = Scorer(settings, dataset.classes, records)

    def ask(what: str, *given: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(getattr(scorer, what)(*given))
        return done

    return ask


def _actor(settings: LaneSettings, dataset: Dataset, records: list[Record]) -> Callable[..., Future[Any]]:
    options = {"num_cpus": settings.cores, "num_gpus": min(settings.gpus_per_worker, 1)}
    scorer: Any = ray.remote(Scorer).options(**options).remote(settings, dataset.classes, records)
    return lambda what, *given: getattr(scorer, what).remote(*given).future()


def _score(
    ask: Callable[..., Future[Any]], dataset: Dataset, leading: list[Record]
) -> tuple[dict[int, Scored], dict[str, Counts]]:
    """`ask`: a method of the scorer, by name, of which it does one at a time."""
    by_id = {sample.id: sample for sample in dataset.samples}
    under_way: list[Future[Any]] = []
    for ids in _batches(ask("open").result()):
        under_way.append(ask("count", [dataset.read(by_id[id]) for id in ids]))
        if len(under_way) > AHEAD:
            under_way.pop(0).result()
    for count in under_way:
        count.result()
    scored: dict[int, Scored] = ask("scores").result()
    shows = [("gallery", leading[:1]), *([("duel", leading[:2])] if len(leading) > 1 else [])]
    for what, of in shows:
        shown = ask(f"choose_{what}", *of).result()
        ask(f"write_{what}", *of, shown, [dataset.read(by_id[one.id]) for one in shown]).result()
    return scored, ask("trivial_counts").result()


def _batches(ids: list[str]) -> Iterator[list[str]]:
    for first in range(0, len(ids), BATCH):
        yield ids[first : first + BATCH]


class Scorer:
    """Where training was: the finalists' models side by side, shown every test image once."""

    def __init__(self, settings: LaneSettings, classes: int, records: list[Record]):
        torch.set_num_threads(settings.threads)
        self._device = torch.device("cuda" if settings.gpus_per_worker else "cpu")
        self._settings, self._classes, self._records = settings, classes, records
        self._store = Store(settings.store_uri, settings.store_seconds)

    def open(self) -> list[str]:
        """Load the models; the ids of the test images. Not on construction: Ray takes an error there for a death."""
        self._pack = supplies.pack_here(self._settings)
        self._test = pixels.load(self._pack, "test", self._device)
        self._predictors = {
            record.trial: predict.from_bytes(self._store.read(record.path("best")), self._device)
            for record in self._records
        }
        self._native = {record.trial: NativeCounts(self._classes) for record in self._records}
        self._trivial = [(one, NativeCounts(self._classes)) for one in trivial.predictions(self._pack)]
        return [self._pack.ids[index] for index in self._pack.indices("test")]

    def trivial_counts(self) -> dict[str, Counts]:
        return {one.name: found.counts for one, found in self._trivial}

    def count(self, images: list[Image]) -> None:
        for one, found in self._trivial:
            for image_HW3, mask_HW in images:
                found.add(one.probabilities(image_HW3), mask_HW)
        for trial, predictor in self._predictors.items():
            for image_HW3, mask_HW in images:
                self._native[trial].add(predictor.probabilities(image_HW3), mask_HW)

    def scores(self) -> dict[int, Scored]:
        return {record.trial: self._score_one(record) for record in self._records}

    def _score_one(self, record: Record) -> Scored:
        predictor = self._predictors[record.trial]
        small = evaluate.evaluate(
            predictor.model, self._test, predictor.experiment, self._pack.classes, Ranks(), self._device
        ).counts
        large = self._native[record.trial].counts
        sizes = {"train": small, "native": large}
        tables = {
            "test_counts": [counts.to_table(self._test.ids, found).assign(size=size) for size, found in sizes.items()],
            "test_confusion": [counts.confusion_table(found).assign(size=size) for size, found in sizes.items()],
        }
        token = secrets.token_hex(3)
        files = {kind: f"{kind}-{token}.parquet" for kind in tables}
        for kind, parts in tables.items():
            self._store.write(f"{record.folder}/{files[kind]}", counts.to_parquet(pd.concat(parts)))
        at_native = {f"native_{name}": value for name, value in metrics.scores(large).items()}
        return Scored(metrics.scores(small) | at_native, files)

    def choose_gallery(self, winner: Record) -> list[gallery.Shown]:
        return gallery.choose(self._store, winner)

    def write_gallery(self, winner: Record, shown: list[gallery.Shown], images: list[Image]) -> None:
        gallery.write(self._store, winner, self._predictor(winner), shown, images)
        self._store.write(predict.BEST, self._store.read(winner.path("best")))

    def choose_duel(self, winner: Record, rival: Record) -> list[duel.Apart]:
        return duel.choose(self._store, winner, rival)

    def write_duel(self, winner: Record, rival: Record, apart: list[duel.Apart], images: list[Image]) -> None:
        both = self._predictor(winner), self._predictor(rival)
        duel.write(self._store, (winner, rival), both, apart, images)

    def _predictor(self, record: Record) -> predict.Predictor:
        """One may have been scored in an earlier session."""
        if record.trial not in self._predictors:
            weights = self._store.read(record.path("best"))
            self._predictors[record.trial] = predict.from_bytes(weights, self._device)
        return self._predictors[record.trial]
