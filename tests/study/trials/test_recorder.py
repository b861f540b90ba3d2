"""The recorder as Tune leads it: every end of a trial, pauses, restarts, and what is left in the store."""

import dataclasses
import uuid
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState
from own_specs import SEARCHED

from study.lanes.lane import LaneReleased, NotStarted
from study.lanes.tune import MAX_NOT_STARTED, Events, LanesError, Results, Trials
from study.ranking import leaders
from study.ranking.objective import Objective
from study.search.search import Search
from study.search.searcher import Searcher
from study.spec import Spec, load_spec
from study.store import Store
from study.store.records import Record, State, read_record, read_records, write_record
from study.trials import recorder
from study.trials.messages import EpochDone, Failure, LaneSettings, Report, Started
from study.trials.recorder import Recorder

OBJECTIVE = Objective("val_iou", "max")
EPOCHS = 3
SAMPLING = {"image_share": [1.0, 0.9], "sampled_image_share": [1.0, 0.95]}


@pytest.fixture
def spec() -> Spec:
    return load_spec(SEARCHED, [f"epochs={EPOCHS}", "trials=6", "early_stopping.min_epochs=1"])


@pytest.fixture
def store() -> Store:
    return Store(f"memory://{uuid.uuid4().hex}")


def row(epoch: int, val_iou: float) -> dict[str, Any]:
    return {"epoch": epoch, "val_iou": val_iou, "seconds": 1.0, "images_per_second": 50.0}


def started(rows: list[dict[str, Any]] | None = None) -> Started:
    costs = {"params_trainable": 10, "params_frozen": 5, "build_seconds": 0.1, "latency_ms": 2.5}
    return Started("cpu", **costs, sampling=SAMPLING, rows=rows or [])


class Tune:
    """Stands in for Tune's controller: it asks for trials and passes results on, in Tune's order."""

    def __init__(self, spec: Spec, store: Store, earlier: list[Record], finalists: int = 1):
        self.shown: list[tuple[int, State]] = []
        self.search = Search(spec, earlier)
        settings = LaneSettings(store.uri, "pack", None, OBJECTIVE, workers=2, gpus_per_worker=0.5, threads=3)
        contenders = partial(leaders.contenders, objectives=[OBJECTIVE], count=finalists)
        self.recorder = Recorder(store, settings, earlier, self.search, contenders, on_change=self._show)
        self.trials = Trials(self.search, self.recorder, {}, lambda: 100)
        self.events = Events(self.recorder, self.trials.numbers, last_round=True, say=print)
        self.results = Results(self.recorder, self.trials.numbers, self.events)
        self._ids = iter(range(99))

    @property
    def learned(self) -> dict[int, FrozenTrial]:
        return self.search._searcher.history.trials

    def _show(self, record: Record) -> None:
        self.shown.append((record.trial, record.state))

    def start(self) -> SimpleNamespace:
        tune_id = f"tune-{next(self._ids)}"
        config = self.trials.suggest(tune_id)
        return SimpleNamespace(trial_id=tune_id, config=config, last_result={}, get_pickled_error=lambda: None)

    def result(
        self,
        trial: SimpleNamespace,
        row: Any = None,
        failure: Failure | None = None,
        files: dict[str, str] | None = None,
        started: Started | None = None,
        lane: str = "",
        done: bool = False,
        **measured: float,
    ) -> bool:
        """Whether Tune is to end its trial."""
        report = Report(failure or EpochDone(row, files or {}, **measured), done, started, lane)
        trial.last_result = {"report": report, "done": done}
        return self.results(trial.trial_id, trial.last_result)

    def end(self, trial: SimpleNamespace) -> None:
        self.trials.on_trial_complete(trial.trial_id)
        self.events.on_trial_complete(1, [trial], trial)

    def run(
        self,
        trial: SimpleNamespace,
        values: list[float],
        first: int = 1,
        files: dict[str, str] | None = None,
        **with_first: Any,
    ) -> None:
        for epoch, value in enumerate(values, first):
            more = with_first if epoch == first else {}
            self.result(trial, row=row(epoch, value), done=epoch == EPOCHS, files=files, **more)

    def error(self, trial: SimpleNamespace, error: Exception | None) -> None:
        trial.get_pickled_error = lambda: error
        self.events.on_trial_error(1, [trial], trial)


@pytest.fixture
def tune(spec: Spec, store: Store) -> Tune:
    return Tune(spec, store, [])


def read(tune: Tune, store: Store, trial: int = 0) -> Record:
    tune.recorder.close()
    return read_record(store, trial)


def test_a_trial_that_was_proposed_is_recorded_before_its_first_epoch(tune: Tune, store: Store) -> None:
    trial = tune.start()
    record = read(tune, store)
    assert record.state is State.RUNNING and record.source == "search" and record.started and not record.finished
    assert record.experiment == trial.config["experiment"]
    assert (record.workers, record.threads, record.gpus) == (2, 3, 1.0)


def test_every_epoch_is_in_the_store_while_the_trial_runs(tune: Tune, store: Store) -> None:
    trial = tune.start()
    tune.run(trial, [0.5, 0.4], started=started())
    record = read(tune, store)
    assert record.state is State.RUNNING and record.epochs == [row(1, 0.5), row(2, 0.4)]
    assert (record.best_epoch, record.device) == (1, "cpu")
    assert (record.params_trainable, record.params_frozen, record.latency_ms) == (10, 5, 2.5)


def test_complete(tune: Tune, store: Store) -> None:
    trial = tune.start()
    tune.run(trial, [0.5, 0.7, 0.6], started=started())
    tune.end(trial)
    record = read(tune, store)
    assert record.state is State.COMPLETE and record.best_epoch == 2 and record.finished and record.reason == ""
    assert record.extra["sampling"] == SAMPLING
    assert tune.learned[0].state is TrialState.COMPLETE and tune.learned[0].value == 0.7
    assert tune.shown[-1] == (0, State.COMPLETE)


def test_pruned_keeps_its_last_epoch(tune: Tune, store: Store) -> None:
    trial = tune.start()
    tune.run(trial, [0.5, 0.4], started=started())
    tune.end(trial)
    record = read(tune, store)
    assert record.state is State.PRUNED and len(record.epochs) == 2
    assert record.reason == "stopped at epoch 2: not among the best at this rung"
    assert tune.learned[0].state is TrialState.PRUNED and tune.learned[0].intermediate_values == {2: 0.5}


@pytest.mark.parametrize("state", [State.FAILED, State.INFEASIBLE])
@pytest.mark.parametrize("epochs_before", [0, 1])
def test_a_failure_keeps_reason_traceback_and_epochs(
    tune: Tune, store: Store, state: State, epochs_before: int
) -> None:
    trial = tune.start()
    tune.run(trial, [0.5][:epochs_before], started=started())
    failure = Failure(state, "training loss is nan in epoch 2", "Traceback ...\nDiverged", lane_lives=True)
    tune.result(trial, failure=failure, done=True)
    tune.end(trial)
    record = read(tune, store)
    assert (record.state, record.reason, record.traceback) == (state, failure.reason, failure.traceback)
    assert len(record.epochs) == epochs_before
    assert tune.learned[0].constraints and not tune.learned[0].intermediate_values


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            RuntimeError("Ray's long story\n  File x\nLaneError: the lane's workers ended\n"),
            "LaneError: the lane's workers ended",
        ),
        (MemoryError(), "MemoryError"),
        (None, "the lane's process ended without an error message"),
    ],
)
def test_a_lane_that_died_for_good(tune: Tune, store: Store, error: Exception | None, reason: str) -> None:
    trial = tune.start()
    tune.run(trial, [0.5], started=started())
    tune.error(trial, error)
    record = read(tune, store)
    assert (record.state, record.reason) == (State.FAILED, reason)
    assert reason in record.traceback and len(record.epochs) == 1


def test_a_lane_that_died_where_tune_gives_up_leaves_the_trial_for_the_next_round(tune: Tune, store: Store) -> None:
    """A lane that is killed between two trials: Tune fails the second before its first step."""
    tune.events._last_round = False
    trial = tune.start()
    tune.error(trial, RuntimeError("the actor died"))
    record = read(tune, store)
    assert (record.state, record.reason) == (State.RUNNING, "")
    assert tune.learned[0].state is TrialState.RUNNING


def test_a_lane_that_died_within_the_session_repeats_no_epoch(tune: Tune, store: Store) -> None:
    """Tune starts the trial again on a new lane, which goes on from the checkpoint: one epoch behind the record."""
    trial = tune.start()
    tune.run(trial, [0.5, 0.6], started=started())
    tune.run(trial, [0.61, 0.4], first=2, started=started([row(1, 0.5)]))
    tune.end(trial)
    record = read(tune, store)
    assert record.epochs == [row(1, 0.5), row(2, 0.61), row(3, 0.4)]
    assert record.state is State.COMPLETE and record.best_epoch == 2


def test_a_restart_that_fails_at_once_has_no_best_epoch_that_is_gone(tune: Tune, store: Store) -> None:
    trial = tune.start()
    tune.run(trial, [0.5, 0.6], started=started())
    failure = Failure(State.INFEASIBLE, "out of memory", "", lane_lives=True)
    tune.result(trial, started=started([row(1, 0.5)]), failure=failure, done=True)
    tune.end(trial)
    record = read(tune, store)
    assert record.epochs == [row(1, 0.5)] and record.best_epoch == 1


def resumable(spec: Spec, make_record: Callable[..., Record], values: list[float]) -> Record:
    experiment = Searcher(spec).ask(0)
    record = make_record(0, State.RUNNING, [], experiment=experiment)
    record.epochs = [row(epoch, value) for epoch, value in enumerate(values, 1)]
    record.best_epoch, record.started = 1, "earlier"
    return record


@pytest.mark.parametrize("in_checkpoint", [0, 1, 2])
def test_a_resumed_trial_counts_nothing_twice(
    spec: Spec, store: Store, make_record: Callable[..., Record], in_checkpoint: int
) -> None:
    """Epochs recorded after the checkpoint are run again: they are in the record once, and in the rungs once."""
    earlier = resumable(spec, make_record, [0.5, 0.4])
    write_record(store, earlier)
    tune = Tune(spec, store, read_records(store))
    trial = tune.start()
    assert trial.config["trial"] == 0 and trial.config["experiment"] == earlier.experiment
    again = [0.5, 0.4, 0.8]
    first = in_checkpoint + 1
    tune.run(trial, again[in_checkpoint:], first=first, started=started(earlier.epochs[:in_checkpoint]))
    tune.end(trial)
    record = read(tune, store)
    assert record.epochs == [row(1, 0.5), row(2, 0.4), row(3, 0.8)]
    assert (record.state, record.best_epoch, record.started) == (State.COMPLETE, 3, "earlier")
    assert tune.learned[0].value == 0.8 and len(tune.learned) == 1


def test_ids_are_those_of_the_study_and_differ(tune: Tune, spec: Spec, store: Store) -> None:
    for _ in range(3):
        tune.start()
    tune.recorder.close()
    ids = [record.id for record in read_records(store)]
    assert len(set(ids)) == 3
    again = Tune(spec, store, [])
    again.start()
    assert read(again, store).id == ids[0]


def put_files(store: Store, trial: int, epoch: int = 1) -> dict[str, str]:
    """A best epoch's files and a checkpoint, as a lane leaves them; the names that it reports."""
    files = {kind: f"{kind}-{epoch:05d}-abc.bin" for kind in ("best", "val_counts")}
    for name in (*files.values(), f"checkpoint-{epoch:05d}-abc.safetensors"):
        store.write(f"trials/{trial:05d}/{name}", b"x")
    return files


def test_only_the_weights_of_those_who_may_be_finalists_stay(tune: Tune, store: Store) -> None:
    left = {}
    for trial, values in enumerate(([0.5, 0.5, 0.5], [0.4], [0.1, 0.2, 0.9])):
        running = tune.start()
        files = put_files(store, trial)
        tune.run(running, values, started=started(), files=files)
        tune.end(running)
        tune.recorder._writer.flush()
        left[trial] = [r.trial for r in read_records(store) if "best" in r.files]
        assert left[trial] == [n for n in range(trial + 1) if store.exists(f"trials/{n:05d}/best-00001-abc.bin")]
    assert left == {0: [0], 1: [0], 2: [2]}
    assert store.names("trials/00001") == ["record.json", "val_counts-00001-abc.bin"]


def test_each_file_is_deleted_once_while_the_study_runs(tune: Tune, store: Store) -> None:
    """On an object store every deletion is a request: they must not grow with the square of the trials."""
    deleted: list[str] = []

    class Watched(Store):
        def delete(self, name: str) -> None:
            deleted.append(name)
            super().delete(name)

    tune.recorder._store = Watched(store.uri)
    for trial in range(4):
        running = tune.start()
        tune.run(running, [0.5], started=started(), files=put_files(store, trial))
        tune.end(running)
    tune.recorder.close()
    assert len(deleted) == len(set(deleted)) == 8


def test_a_record_that_has_ended_names_only_what_is_there(
    tune: Tune, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lane that was told to stop a trial may still be sending its files; one that died never sends them."""
    monkeypatch.setattr(recorder, "LATE_SECONDS", 1.0)
    seen: list[State] = []

    class Slow(Store):
        def names(self, folder: str) -> list[str]:
            if not seen:
                put_files(store, 0)
            seen.append(read_record(store, 0).state)
            return super().names(folder)

    tune.recorder._store = Slow(store.uri)
    for reported in ({"val_counts": "val_counts-00001-abc.bin"}, {"val_counts": "never-sent.bin"}):
        running = tune.start()
        tune.run(running, [0.5], started=started(), files=reported)
        tune.recorder._writer.flush()
        tune.end(running)
    tune.recorder.close()
    first, second = read_records(store)
    assert seen[0] is State.RUNNING and first.state is State.PRUNED
    assert first.files == {"val_counts": "val_counts-00001-abc.bin"} and second.files == {}


def test_what_a_lane_writes_late_does_not_stay(tune: Tune, store: Store) -> None:
    trial = tune.start()
    tune.run(trial, [0.5], started=started())
    tune.end(trial)
    tune.recorder._writer.flush()
    put_files(store, 0)
    store.write("trials/00000/best-00001-abc.bin.0123abcd.partial", b"half")
    put_files(store, 1)
    tune.recorder.close()
    assert store.names("trials/00000") == ["record.json"]
    assert len(store.every_name("trials/00001")) == 3, "of a trial that has not ended"
    assert not [name for name in store.every_name("trials/00000") if name.endswith(".partial")]


def test_a_checkpoint_stays_until_the_trial_is_recorded_as_ended(tune: Tune, store: Store) -> None:
    """Killed in between, a trial whose checkpoint is gone would start over."""
    seen: list[State] = []

    class Watched(Store):
        def delete(self, name: str) -> None:
            seen.append(read_record(store, 0).state)
            super().delete(name)

    tune.recorder._store = Watched(store.uri)
    trial = tune.start()
    put_files(store, 0)
    tune.run(trial, [0.5], started=started())
    tune.end(trial)
    tune.recorder.close()
    assert seen and set(seen) == {State.PRUNED}


def test_half_the_microbatch_is_recorded(tune: Tune, store: Store) -> None:
    trial = tune.start()
    smaller = dataclasses.replace(started(), microbatches=2)
    tune.run(trial, [0.5], started=smaller)
    assert read(tune, store).extra["microbatches"] == 2


def test_a_store_that_fails_is_no_silent_loss(tune: Tune) -> None:
    class Full(Store):
        def write(self, name: str, content: bytes) -> None:
            raise OSError(28, "No space left on device")

    tune.recorder._writer._store = Full("memory://full")
    tune.start()
    with pytest.raises(OSError, match="No space left"):
        tune.recorder._writer.flush()
    with pytest.raises(OSError, match="No space left"):
        tune.events.on_step_end(1, [])


def test_who_was_taken_over_removes_nothing(tune: Tune, store: Store) -> None:
    """A process that was suspended and wakes up: the trial that it ends has been finished by another meanwhile."""

    class Taken(Exception):
        pass

    trial = tune.start()
    tune.run(trial, [0.5], started=started(), files=put_files(store, 0))
    tune.recorder._writer.flush()
    before = {name: store.read(name) for name in store.every_name("trials")}

    def check() -> None:
        raise Taken

    tune.recorder._check_session = check
    tune.end(trial)
    with pytest.raises(Taken):
        tune.recorder.close()
    assert {name: store.read(name) for name in store.every_name("trials")} == before


def test_a_study_that_another_process_has_taken_over_stops(
    spec: Spec, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Taken(Exception):
        pass

    def check() -> None:
        raise Taken

    monkeypatch.setattr("study.trials.recorder.SESSION_SECONDS", 0.0)
    tune = Tune(spec, store, [])
    tune.recorder._check_session = check
    tune.events.on_step_end(1, [])
    with pytest.raises(Taken):
        tune.recorder._writer.flush()


# Pauses


@pytest.fixture
def pausing(store: Store) -> Tune:
    stopping = "early_stopping={scheduler: promoting_asha, min_epochs: 1, reduction_factor: 3}"
    return Tune(load_spec(SEARCHED, [f"epochs={EPOCHS}", "trials=6", "finalists=1", stopping]), store, [])


def pause(tune: Tune, value: float) -> SimpleNamespace:
    trial = tune.start()
    files = put_files(tune.recorder._store, trial.config["trial"])
    assert tune.result(trial, row=row(1, value), started=started(), files=files, lane="lane-0")
    tune.end(trial)
    return trial


def test_a_paused_trial_is_not_ended_and_keeps_its_checkpoint(pausing: Tune, store: Store) -> None:
    pause(pausing, 0.5)
    record = read(pausing, store)
    assert (record.state, record.paused_at, record.finished) == (State.RUNNING, 1, "")
    assert record.reason == "paused at epoch 1: goes on once it is among the best at this rung"
    assert len(store.names(record.folder)) == 4 and pausing.shown[-1] == (0, State.RUNNING)


def test_a_paused_trial_goes_on_as_a_new_one_of_tunes(pausing: Tune, store: Store) -> None:
    for value in (0.5, 0.4, 0.3):
        pause(pausing, value)
    again = pausing.start()
    assert (again.config["trial"], again.config["paused_at"]) == (0, 1)
    pausing.recorder._writer.flush()
    running = read_record(store, 0)
    assert (running.paused_at, running.reason) == (0, "")
    assert not pausing.result(again, row=row(2, 0.7), started=started([row(1, 0.5)]), lane="lane-1")
    pausing.result(again, row=row(3, 0.6), done=True)
    pausing.end(again)
    record = read(pausing, store)
    assert record.state is State.COMPLETE and record.epochs == [row(1, 0.5), row(2, 0.7), row(3, 0.6)]
    stints = record.extra["stints"]
    assert [stint["lane"] for stint in stints] == ["lane-0", "lane-1"]
    times = [stint[name] for stint in stints for name in ("started", "finished")]
    assert times == sorted(times) and (times[0], times[-1]) == (record.started, record.finished)


def test_who_is_passed_by_all_that_can_go_on_ends_while_the_study_runs(pausing: Tune, store: Store) -> None:
    """Two of six trials go on at most: the third best of those that were there ends, its checkpoint goes."""
    for value in (0.3, 0.5, 0.4):
        pause(pausing, value)
    pausing.recorder._writer.flush()
    record = read_record(store, 0)
    assert (record.state, record.paused_at) == (State.PRUNED, 0) and record.finished
    assert record.reason == "stopped at epoch 1: not among the best at this rung"
    assert store.names(record.folder) == ["record.json", "val_counts-00001-abc.bin"]
    assert pausing.shown.count((0, State.PRUNED)) == 1


def test_a_trial_that_ends_with_its_own_pause_ends_once(pausing: Tune, store: Store) -> None:
    for value in (0.4, 0.5, 0.3):
        pause(pausing, value)
    assert read(pausing, store, 2).state is State.PRUNED
    assert pausing.shown.count((2, State.PRUNED)) == 1


def test_when_nothing_more_can_go_on_all_have_ended(pausing: Tune, store: Store) -> None:
    for value in (0.3, 0.2, 0.1):
        pause(pausing, value)
    best = pausing.start()
    pausing.run(best, [0.4, 0.5], first=2, started=started([row(1, 0.3)]))
    pausing.end(best)
    pause(pausing, 0.25)
    for _ in range(2):
        failed = pausing.start()
        failure = Failure(State.FAILED, "loss is nan", "", lane_lives=True)
        pausing.result(failed, started=started(), failure=failure, done=True)
        pausing.end(failed)
    assert pausing.start().config == "FINISHED"
    pausing.recorder.close()
    states = [record.state for record in read_records(store)]
    assert states == [State.COMPLETE, State.PRUNED, State.PRUNED, State.PRUNED, State.FAILED, State.FAILED]


def test_who_was_to_stop_when_the_study_was_killed_ends_before_anything_else(
    spec: Spec, store: Store, make_record: Callable[..., Record]
) -> None:
    earlier = [make_record(trial, values=[0.5], epochs=EPOCHS) for trial in range(3)]
    killed = make_record(3, State.RUNNING, [0.1], epochs=EPOCHS)
    tune = Tune(spec, store, [*earlier, killed])
    assert tune.shown == [(3, State.PRUNED)]
    assert read(tune, store, 3).reason == "stopped at epoch 1: not among the best at this rung"


# Lanes that do not start, and trials that wait for room


def recover(tune: Tune, trial: SimpleNamespace, error: Exception) -> None:
    """As Tune does after a lane raised `error`, before it starts the trial again."""
    trial.get_pickled_error = lambda: SimpleNamespace(cause=error)
    trial.run_metadata = SimpleNamespace(num_failures=1)
    tune.events.on_trial_recover(1, [trial], trial)


def test_a_trial_that_was_given_back_has_not_failed(tune: Tune) -> None:
    trial = tune.start()
    recover(tune, trial, LaneReleased("no room for its 1 x 1 GPU"))
    assert trial.run_metadata.num_failures == 0
    recover(tune, trial, RuntimeError("the actor died"))
    assert trial.run_metadata.num_failures == 1


def test_lanes_that_do_not_start_end_the_study(tune: Tune) -> None:
    trial = tune.start()
    for _ in range(MAX_NOT_STARTED):
        tune.events.on_step_end(1, [trial])
        recover(tune, trial, NotStarted("DataError: no space left"))
    with pytest.raises(LanesError, match="lanes do not start: DataError: no space left"):
        tune.events.on_step_end(1, [trial])
    assert tune.recorder.records[0].state is State.RUNNING, "it is gone on with when the study is resumed"


def test_one_lane_that_does_not_start_among_others_does_not_end_the_study(tune: Tune) -> None:
    sick, well = tune.start(), tune.start()
    for _ in range(2):
        for _ in range(MAX_NOT_STARTED - 1):
            recover(tune, sick, NotStarted("DataError: no space left"))
        tune.events.on_step_end(1, [sick])
        tune.result(well, row=row(1, 0.5), started=started())
