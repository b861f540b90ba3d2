"""What study.ensemble kept in a study."""

import io
from dataclasses import dataclass

import pandas as pd

from analysis.load import Study, StudyNotFound, open_study
from study.records import ENSEMBLES


@dataclass(frozen=True)
class Ensemble:
    name: str
    trials: tuple[int, ...]
    flips: bool
    """Whether each was averaged over the flips of every image."""
    counts: pd.DataFrame
    """Of each test image and class, at the masks' own size."""


def ensembles(study: str | Study) -> list[Ensemble]:
    """StudyNotFound where one cannot be read."""
    store = open_study(study).store
    names = [name.removesuffix(".json") for name in store.names(ENSEMBLES) if name.endswith(".json")]
    found = []
    for file in (f"{ENSEMBLES}/{name}" for name in names):
        try:
            told = store.read_json(f"{file}.json")
            counts = pd.read_parquet(io.BytesIO(store.read(f"{file}.parquet")))
            found.append(Ensemble(str(told["name"]), tuple(map(int, told["trials"])), bool(told["flips"]), counts))
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise StudyNotFound(f"{store.uri}/{file}: cannot be read ({reason}); restore it or remove it") from error
    return found
