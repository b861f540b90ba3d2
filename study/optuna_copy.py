"""One study in a database of Optuna's, kept in line with the study's records. The records are the truth: where the
database holds what cannot be made theirs by adding to it, the copy is written anew."""

import warnings
from collections.abc import Mapping

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial

from study.optuna_storage import connect, refusal
from study.optuna_trials import as_trial, continues, same
from study.records import Record
from study.redact import redact
from study.samplers.ask import directions
from study.spec import Spec


class OptunaCopy:
    """Named `name`, and by its user attribute `uri` the copy of the study there. Not to be shared by threads."""

    def __init__(self, url: str, name: str, uri: str, spec: Spec):
        self._url, self._name, self._spec = url, name, spec
        metrics = ", ".join(objective.metric for objective in spec.objectives)
        self._attributes = {"uri": redact(uri), "dataset": spec.dataset, "objective": metrics}
        self._storage: RDBStorage | None = None
        self._study = -1
        self._there: dict[int, FrozenTrial] = {}
        """What the database holds, by our trial numbers."""

    @property
    def open(self) -> bool:
        return self._storage is not None

    def check(self, begun: bool) -> None:
        """OptunaStorageError where the database cannot be used, or has another study of this name."""
        storage = connect(self._url)
        self._find(storage, begun)
        storage.remove_session()
        storage.engine.dispose()

    def begin(self, records: Mapping[int, Record]) -> bool:
        """Find what the database holds, by which `write` goes on. OptunaStorageError as from `check`.

        False where that was not of these records, and was removed.
        """
        self._storage = storage = connect(self._url)
        found = self._find(storage, begun=bool(records))
        self._study = self._create(storage) if found is None else found
        # A trial without our number is somebody's own, as one enqueued in the dashboard: no reason to write anew.
        ours = [trial for trial in storage.get_all_trials(self._study) if "trial" in trial.user_attrs]
        self._there = {trial.user_attrs["trial"]: trial for trial in ours}
        sound = len(self._there) == len(ours) and storage.get_study_directions(self._study) == directions(self._spec)
        if sound and all(self._belongs(trial, records) for trial in ours):
            return True
        self.begin_anew()
        return False

    def close(self) -> None:
        """Forget what is there, so that the next `begin` looks again."""
        if self._storage is not None:
            self._storage.remove_session()
            self._storage.engine.dispose()
        self._storage, self._there = None, {}

    def write(self, record: Record) -> bool:
        """The record's trial, new or with what is new about it. False where that takes a copy written anew."""
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
        """An empty study in place of the one that is there; what its user noted about the study as a whole stays."""
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
        """The study of our name. OptunaStorageError where it is of another place, or has results and we have none.

        Killed before it could say of which place it is, it is empty.
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
        """What `there` lacks. The state comes last: a trial that has ended takes nothing more."""
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
