"""One study in an Optuna database, kept in line with the study's records.

The records are the truth. If the database does not match them and adding to it cannot help, the copy is rewritten.
"""

import warnings
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from seg.errors import redact
from seg.experiment import Experiment
from study.mirror.database import connect, refusal
from study.ranking import objective
from study.search import space
from study.search.space import directions
from study.spec import Spec
from study.store.records import Record, State

OUTCOMES = {State.COMPLETE: TrialState.COMPLETE, State.PRUNED: TrialState.PRUNED}
"""Optuna's state of a trial with a score; every other ended trial is a FAIL, which has no score."""
NEW = -1
"""Number and id of a trial that no storage has yet."""


def as_trial(record: Record, spec: Spec) -> FrozenTrial:
    """Return a record as an Optuna trial. A trial that ended without a score is a FAIL.

    Its choices are parameters if the search could have made them; otherwise, as for most published baselines, they are
    user attributes.
    """
    experiment = Experiment.from_json(record.experiment)
    suggested = space.optuna_values(experiment, spec)
    params, distributions = suggested or ({}, {})
    values = intermediate_values(record, spec)
    scores = objective.values(record, spec.objectives)
    state = _state(record, scores is not None)
    # The value of a pruned trial is its last intermediate value, as in Study.tell; with several objectives it has none.
    last = list(values.values())[-1:] if len(spec.objectives) == 1 else None
    values_by_state = {TrialState.COMPLETE: scores, TrialState.PRUNED: last}
    return FrozenTrial(
        number=NEW,
        trial_id=NEW,
        state=state,
        value=None,
        values=values_by_state.get(state),
        datetime_start=_local(record.started) or datetime.now(),
        datetime_complete=(_local(record.finished) or datetime.now()) if state.is_finished() else None,
        params=params,
        distributions=distributions,
        user_attrs=_about(record) | ({} if suggested else _choices(experiment)),
        system_attrs={},
        intermediate_values=values,
    )


def continues(wanted: FrozenTrial, there: FrozenTrial) -> bool:
    """Whether the trial that is `there` can become `wanted` by adding to it: a storage lets nothing be removed.

    Extra epochs of a running trial are left there: it went back to its checkpoint and runs them again.
    """
    if wanted.params != there.params or wanted.user_attrs["id"] != there.user_attrs.get("id"):
        return False
    if there.state.is_finished():
        return same(wanted, there)
    return not wanted.state.is_finished() or there.intermediate_values.keys() <= wanted.intermediate_values.keys()


def same(wanted: FrozenTrial, there: FrozenTrial) -> bool:
    """Whether there is nothing to add. User attributes set by others do not count."""
    return (
        wanted.state == there.state
        and wanted.values == there.values
        and wanted.intermediate_values == there.intermediate_values
        and wanted.user_attrs.items() <= there.user_attrs.items()
    )


def intermediate_values(record: Record, spec: Spec) -> dict[int, float]:
    """Return the first objective's value by epoch, for the epochs in which it is finite."""
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
    """Return a UTC time in this machine's time zone, without the zone, as Optuna keeps times."""
    return datetime.fromisoformat(utc).astimezone().replace(tzinfo=None) if utc else None


class OptunaCopy:
    """The Optuna study `name`, a copy of the study at its user attribute `uri`. Threads must not share it."""

    def __init__(self, url: str, name: str, uri: str, spec: Spec):
        self._url, self._name, self._spec = url, name, spec
        metrics = ", ".join(objective.metric for objective in spec.objectives)
        self._attributes = {"uri": redact(uri), "dataset": spec.dataset, "objective": metrics}
        self._storage: RDBStorage | None = None
        self._study = -1
        self._there: dict[int, FrozenTrial] = {}
        """The trials that the database holds, by our trial numbers."""

    @property
    def open(self) -> bool:
        return self._storage is not None

    def check(self, begun: bool) -> None:
        """Raise OptunaStorageError if the database cannot be used, or has another study of this name."""
        storage = connect(self._url)
        self._find(storage, begun)
        storage.remove_session()
        storage.engine.dispose()

    def begin(self, records: Mapping[int, Record]) -> bool:
        """Read what the database holds, so that `write` can add to it.

        Returns False if that did not match the records and was removed. Raises OptunaStorageError like `check`.
        """
        self._storage = storage = connect(self._url)
        found = self._find(storage, begun=bool(records))
        self._study = self._create(storage) if found is None else found
        # A trial without our number is a user's own, such as one enqueued in the dashboard: no reason to rewrite.
        ours = [trial for trial in storage.get_all_trials(self._study) if "trial" in trial.user_attrs]
        self._there = {trial.user_attrs["trial"]: trial for trial in ours}
        sound = len(self._there) == len(ours) and storage.get_study_directions(self._study) == directions(self._spec)
        if sound and all(self._belongs(trial, records) for trial in ours):
            return True
        self.begin_anew()
        return False

    def close(self) -> None:
        """Close the connection and forget what is there, so that the next `begin` reads it again."""
        if self._storage is not None:
            self._storage.remove_session()
            self._storage.engine.dispose()
        self._storage, self._there = None, {}

    def write(self, record: Record) -> bool:
        """Create the record's trial, or add what is new. Returns False if the whole copy must be rewritten for it."""
        wanted = as_trial(record, self._spec)
        there = self._there.get(record.trial)
        if there is None:
            wanted._trial_id = self._opened.create_new_trial(self._study, wanted)
        elif not continues(wanted, there):
            return False
        else:
            wanted._trial_id = there._trial_id
            self._add(wanted, there)
        self._there[record.trial] = wanted
        return True

    def begin_anew(self) -> None:
        """Replace the study with an empty one. The user's attributes of the study as a whole are kept."""
        storage = self._opened
        noted = storage.get_study_user_attrs(self._study), storage.get_study_system_attrs(self._study)
        storage.delete_study(self._study)
        self._there = {}
        self._study = self._create(storage)
        for key in noted[0].keys() - storage.get_study_user_attrs(self._study).keys():
            storage.set_study_user_attr(self._study, key, noted[0][key])
        for key in noted[1].keys() - storage.get_study_system_attrs(self._study).keys():
            storage.set_study_system_attr(self._study, key, noted[1][key])

    @property
    def _opened(self) -> RDBStorage:
        assert self._storage is not None, "begin comes first"
        return self._storage

    def _find(self, storage: RDBStorage, begun: bool) -> int | None:
        """Return the id of the study of our name, None if there is none.

        Raises OptunaStorageError if it is of another place, or has results and we have none. A study without a `uri` is
        taken only if it is empty: its process was killed before it could set one.
        """
        try:
            found = storage.get_study_id_from_name(self._name)
        except KeyError:
            return None
        uri = storage.get_study_user_attrs(found).get("uri")
        if uri != self._attributes["uri"] and (uri or storage.get_n_trials(found)):
            other = f"has a study {self._name!r} of {uri or 'somebody else'}"
            raise refusal(self._url, other, "take another --name or another database")
        if not begun and any(trial.intermediate_values for trial in storage.get_all_trials(found)):
            earlier = f"has the trials of an earlier study {self._name!r}"
            raise refusal(self._url, earlier, "take another --name, or delete it there, in optuna-dashboard")
        return found

    def _create(self, storage: RDBStorage) -> int:
        study = storage.create_new_study(directions(self._spec), self._name)
        for key, value in self._attributes.items():
            storage.set_study_user_attr(study, key, value)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            metrics = [objective.metric for objective in self._spec.objectives]
            optuna.load_study(study_name=self._name, storage=storage).set_metric_names(metrics)
        return study

    def _belongs(self, there: FrozenTrial, records: Mapping[int, Record]) -> bool:
        record = records.get(there.user_attrs["trial"])
        return record is not None and continues(as_trial(record, self._spec), there)

    def _add(self, wanted: FrozenTrial, there: FrozenTrial) -> None:
        """Add what `there` lacks. The state comes last, because nothing can be added to an ended trial."""
        if same(wanted, there):
            return
        storage = self._opened
        for epoch, value in wanted.intermediate_values.items():
            if there.intermediate_values.get(epoch) != value:
                storage.set_trial_intermediate_value(wanted._trial_id, epoch, value)
        for name, value in wanted.user_attrs.items():
            if there.user_attrs.get(name) != value:
                storage.set_trial_user_attr(wanted._trial_id, name, value)
        if wanted.state.is_finished():
            storage.set_trial_state_values(wanted._trial_id, wanted.state, wanted.values)
