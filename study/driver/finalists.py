"""Score the finalists on the sealed test split, which is opened once, after the search has ended.

Scoring runs where trials trained: in this process if that was this machine, else in one Ray actor. It uses at most one
GPU.
"""

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from seg import evaluate, metrics, predict
from seg.data.sample import Dataset
from seg.device import pixels
from seg.evaluate import NativeCounts
from seg.metrics import Counts
from seg.ranks import Ranks
from study.driver import pictures
from study.lanes import supplies
from study.store import Store, counts
from study.store.records import Record
from study.trials.messages import LaneSettings

ATTEMPTS = 3
"""The most attempts, each with a new actor, if nodes are lost."""
BATCH = 4
"""The number of images that are sent at a time."""
AHEAD = 2
"""The number of batches that may wait while one is scored: reading and scoring overlap in bounded memory."""


@dataclass(frozen=True)
class Scored:
    """The result of scoring a trial."""

    scores: dict[str, float]
    files: dict[str, str]
    """The files that hold the counts, in the form of Record.files."""


Image = tuple[np.ndarray, np.ndarray]
"""An image's colours (H, W, 3) and mask (H, W), at native size."""


def score(
    settings: LaneSettings, dataset: Dataset, records: list[Record], leading: list[Record], joined: bool
) -> tuple[dict[int, Scored], dict[str, Counts]]:
    """Return the test scores of each trial, and the counts of each trivial prediction. Blocks until done.

    Scores are at training size and, as `native_*`, at the masks' own size. The trivial predictions need no training
    (seg.evaluate); their counts are at native size, by name.

    The counts of every image go to the store. The first trial in `leading` also gets a gallery, and its weights become
    the study's own. The first two get pictures of what one sees and the other does not. Only this process needs the
    data: it reads each image once for all trials and sends it to the scorer. If the study has `joined` a cluster, the
    scorer is a process on another machine.
    """
    if not joined:
        return _score(_here(settings, dataset, records), dataset, leading)
    import ray

    for left in reversed(range(ATTEMPTS)):
        try:
            return _score(_actor(settings, dataset, records), dataset, leading)
        except ray.exceptions.RayActorError:
            if not left:
                raise
    raise AssertionError


def _here(settings: LaneSettings, dataset: Dataset, records: list[Record]) -> Callable[..., Future[Any]]:
    """Return a function that calls the scorer in this process, on the main thread, so that Ctrl-C ends it."""
    scorer = Scorer(settings, dataset.classes, records)

    def ask(what: str, *given: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(getattr(scorer, what)(*given))
        return done

    return ask


def _actor(settings: LaneSettings, dataset: Dataset, records: list[Record]) -> Callable[..., Future[Any]]:
    import ray

    options = {"num_cpus": settings.cores, "num_gpus": min(settings.gpus_per_worker, 1)}
    scorer: Any = ray.remote(Scorer).options(**options).remote(settings, dataset.classes, records)
    return lambda what, *given: getattr(scorer, what).remote(*given).future()


def _score(
    ask: Callable[..., Future[Any]], dataset: Dataset, leading: list[Record]
) -> tuple[dict[int, Scored], dict[str, Counts]]:
    """Score all trials with `ask`, which calls a method of the scorer by name. The scorer runs one call at a time."""
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
    """The finalists' models, loaded side by side where training ran. They see every test image once."""

    def __init__(self, settings: LaneSettings, classes: int, records: list[Record]):
        torch.set_num_threads(settings.threads)
        self._device = torch.device("cuda" if settings.gpus_per_worker else "cpu")
        self._settings, self._classes, self._records = settings, classes, records
        self._store = Store(settings.store_uri, settings.store_seconds)

    def open(self) -> list[str]:
        """Load the models, and return the ids of the test images.

        The constructor does not do this, because Ray takes an error there for the actor's death.
        """
        self._pack = supplies.pack_here(self._settings)
        self._test = pixels.load(self._pack, "test", self._device)
        self._predictors = {
            record.trial: predict.from_bytes(self._store.read(record.path("best")), self._device)
            for record in self._records
        }
        self._native = {record.trial: NativeCounts(self._classes) for record in self._records}
        self._trivial = [(one, NativeCounts(self._classes)) for one in evaluate.trivial_predictions(self._pack)]
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

    def choose_gallery(self, winner: Record) -> list[pictures.Shown]:
        return pictures.choose_gallery(self._store, winner)

    def write_gallery(self, winner: Record, shown: list[pictures.Shown], images: list[Image]) -> None:
        pictures.write_gallery(self._store, winner, self._predictor(winner), shown, images)
        self._store.write(predict.BEST, self._store.read(winner.path("best")))

    def choose_duel(self, winner: Record, rival: Record) -> list[pictures.Disagreement]:
        return pictures.choose_duel(self._store, winner, rival)

    def write_duel(
        self, winner: Record, rival: Record, apart: list[pictures.Disagreement], images: list[Image]
    ) -> None:
        both = self._predictor(winner), self._predictor(rival)
        pictures.write_duel(self._store, (winner, rival), both, apart, images)

    def _predictor(self, record: Record) -> predict.Predictor:
        """Return the trial's predictor. Loads it if the trial was scored in an earlier session."""
        if record.trial not in self._predictors:
            weights = self._store.read(record.path("best"))
            self._predictors[record.trial] = predict.from_bytes(weights, self._device)
        return self._predictors[record.trial]
