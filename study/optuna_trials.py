"""A record as a trial of Optuna's, as optuna-dashboard shows it."""

from datetime import datetime
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from seg.experiment import Experiment
from study import objective, space
from study.records import Record, State
from study.spec import Spec

OUTCOMES = {State.COMPLETE: TrialState.COMPLETE, State.PRUNED: TrialState.PRUNED}
"""What Optuna is told of a trial with a score; every other end is a FAIL, which is never a score."""
NEW = -1
"""Number and id of a trial that no storage has yet."""


def as_trial(record: Record, spec: Spec) -> FrozenTrial:
    """Its choices as parameters, where the search could have made them; else, as with most published baselines, as
    user attributes. An end without a score is a FAIL."""
    experiment = Experiment.from_json(record.experiment)
    told = space.told(experiment, spec)
    params, distributions = told or ({}, {})
    values = intermediate_values(record, spec)
    scores = objective.values(record, spec.objectives)
    state = _state(record, scores is not None)
    # A pruned trial's value is its last intermediate one, as Study.tell has it; of several objectives it has none.
    last = list(values.values())[-1:] if len(spec.objectives) == 1 else None
    told_values = {TrialState.COMPLETE: scores, TrialState.PRUNED: last}
    return FrozenTrial(
        number=NEW,
        trial_id=NEW,
        state=state,
        value=None,
        values=told_values.get(state),
        datetime_start=_local(record.started) or datetime.now(),
        datetime_complete=(_local(record.finished) or datetime.now()) if state.is_finished() else None,
        params=params,
        distributions=distributions,
        user_attrs=_about(record) | ({} if told else _choices(experiment)),
        system_attrs={},
        intermediate_values=values,
    )


def continues(wanted: FrozenTrial, there: FrozenTrial) -> bool:
    """Whether what is `there` becomes what is `wanted` by adding to it: a storage lets nothing be taken back.

    Epochs beyond those of a running record are left to stand: it went back to its checkpoint and runs them again.
    """
    if wanted.params != there.params or wanted.user_attrs["id"] != there.user_attrs.get("id"):
        return False
    if there.state.is_finished():
        return same(wanted, there)
    return not wanted.state.is_finished() or there.intermediate_values.keys() <= wanted.intermediate_values.keys()


def same(wanted: FrozenTrial, there: FrozenTrial) -> bool:
    """Whether nothing is to be added. Attributes that others set do not count."""
    return (
        wanted.state == there.state
        and wanted.values == there.values
        and wanted.intermediate_values == there.intermediate_values
        and wanted.user_attrs.items() <= there.user_attrs.items()
    )


def intermediate_values(record: Record, spec: Spec) -> dict[int, float]:
    """The first objective by epoch, where it has a finite value."""
    return {row["epoch"]: row[spec.objective.metric] for row in record.epochs if spec.objective.scored(row)}


def _state(record: Record, scored: bool) -> TrialState:
    if record.state is State.RUNNING:
        return TrialState.RUNNING
    return OUTCOMES.get(record.state, TrialState.FAIL) if scored else TrialState.FAIL


def _about(record: Record) -> dict[str, Any]:
    about = {
        "trial": record.trial,
        "id": record.id,
        "source": record.source,
        "state": str(record.state),
        "reason": record.reason or None,
        "best_epoch": record.best_epoch,
    }
    return {name: value for name, value in about.items() if value is not None}


def _choices(experiment: Experiment) -> dict[str, Any]:
    return {name: value for name, value in space.choices(experiment).items() if value is not None}


def _local(utc: str) -> datetime | None:
    """Optuna keeps times without a zone and means this machine's."""
    return datetime.fromisoformat(utc).astimezone().replace(tzinfo=None) if utc else None
