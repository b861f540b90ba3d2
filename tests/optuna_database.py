"""Databases with a mirrored study, read back by Optuna itself."""

import time
from collections.abc import Callable
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.pool import NullPool

from seg.experiment import Experiment
from study.mirror.optuna_mirror import mirrored
from study.search import space
from study.spec import Spec
from study.store.records import Record

NAME, URI = "first", "s3://bucket/studies/first"
RUNNING, COMPLETE, PRUNED, FAIL = TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL


def study_in(url: str, name: str = NAME) -> optuna.Study:
    return optuna.load_study(study_name=name, storage=RDBStorage(url, engine_kwargs={"poolclass": NullPool}))


def trials_in(url: str) -> list[FrozenTrial]:
    return study_in(url).get_trials()


def mirrored_at_once(url: str, spec: Spec, *records: Record) -> list[FrozenTrial]:
    """What is there after a session in which nothing more happened."""
    with mirrored(url, NAME, URI, spec, records, print):
        pass
    return trials_in(url)


def eventually(what: Callable[[], Any], seconds: float = 20) -> Any:
    """The first of its values that is true."""
    end = time.monotonic() + seconds
    while True:
        try:
            if (value := what()) or time.monotonic() > end:
                return value
        except (KeyError, sqlalchemy.exc.SQLAlchemyError):
            if time.monotonic() > end:
                raise
        time.sleep(0.05)


def searched(spec: Spec, seed: int) -> Experiment:
    """An experiment that the search could have proposed."""
    return space.suggest(optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask(), spec)
