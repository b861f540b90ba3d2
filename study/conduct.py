"""A study from its plan to its finalists: lanes, search, records. run.py is its command line."""

import logging
import os
import signal
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

# Before ray is imported: no result files of Tune's own beside our records, every result may lack the objective
# (a failed trial has none), Ctrl-C is ours, and Tune's old display, which prints nothing at verbosity 0.
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")

from ray import tune
from ray.exceptions import RayActorError

from seg import data
from study import agenda, finalists, leaders, session
from study.cluster import Room
from study.gauges import Gauges
from study.lane import GivenBack, Lane, NotStarted
from study.optuna_mirror import mirrored
from study.plan import Plan
from study.progress import Progress, Tally
from study.recorder import Recorder, stopped_at
from study.records import Record, State, now, read_records, write_record
from study.search import OptunaStudy, Proposal, Rungs, StudySearcher, scheduler
from study.store import Store
from study.tidy import begin_again, end_in_store, remove_unnamed

ROUNDS = 5
"""Times that Tune is run before a trial whose lanes keep dying is FAILED."""
LANE_RESTARTS = 20
"""Times a trial is taken up again from its last epoch after its lane's own process died, as on a node that is lost.
That process only passes messages: a trial does not kill it. Deaths of workers are counted by the lane."""
MOST_LANES = 1000
"""Of which Tune ever starts the processes side by side; how many there are is up to the searcher."""


def _is_news(line: logging.LogRecord) -> bool:
    error = line.exc_info[1] if line.exc_info else None
    return not isinstance(error, RayActorError) and not isinstance(
        getattr(error, "cause", None), GivenBack | NotStarted
    )


# Tune prints a traceback for each trial whose lane was on a node that vanished, or had no room; it goes on elsewhere.
logging.getLogger("ray.tune.execution.tune_controller").addFilter(_is_news)


class Interrupted(Exception):
    """Stopped from outside, by Ctrl-C or SIGTERM; the study can be resumed."""


def conduct(plan: Plan, resume: bool, again: Collection[int] = frozenset()) -> list[Record]:
    """Search, train the finalists with other seeds, then score them all. Ray must be up. The records, all ended.

    The trials `again`, which have ended, are run once more, from their start.

    Interrupted where a signal ended it, StoreError where the store was gone for too long, LanesError where no lane
    starts: what was recorded until then is in the store. StudyTaken where the name was taken meanwhile, or another
    process went on with this study.
    """
    store = plan.patient_store(print)
    session.go_on(plan, store) if resume else session.begin(plan, store)
    earlier = read_records(store)
    for record in earlier:
        if record.trial in again:
            begin_again(store, record)
    notice = partial(print, flush=True)
    with mirrored(plan.optuna_storage, plan.name, store.uri, plan.spec, _searched(earlier), notice) as mirror:
        records = earlier if agenda.is_done(plan.spec, earlier) else _search_interruptibly(plan, earlier, mirror)
        session.check(plan, store)
        _score_finalists(plan, store, records)
        session.check(plan, store)
        remove_unnamed(store, records)
    session.go_on(plan, store, finished=now())
    return records


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Ctrl-C and SIGTERM alike raise Interrupted."""

    def interrupt(number: int, frame: Any) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    previous = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted from error
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _search_interruptibly(plan: Plan, earlier: list[Record], mirror: Callable[[Record], None]) -> list[Record]:
    with _signals_interrupt(), tempfile.TemporaryDirectory(prefix="study-", ignore_cleanup_errors=True) as scratch:
        return _search(plan, earlier, scratch, mirror)


def _search(plan: Plan, records: list[Record], scratch: str, mirror: Callable[[Record], None]) -> list[Record]:
    """In rounds: what a round leaves unfinished, because lanes died where Tune does not start a trial again, the next
    takes up from the records, as another process would. All records, ended."""
    trials = plan.spec.trials + plan.spec.finalists.replicates
    tally = Tally(trials, plan.prepared.allotment.lanes, plan.objective, records)
    with Progress(tally) as progress:
        store = plan.patient_store(progress.say)
        room = Room(plan.prepared.allotment, plan.prepared.cluster, plan.most_lanes, progress.say)
        gauges = Gauges(plan.name, tally, room.lanes)

        def changed(record: Record) -> None:
            progress.change(record)
            gauges.change(record)
            if record.replicate_of is None:
                mirror(record)

        for left in reversed(range(ROUNDS)):
            _end_the_stopped(plan, store, records)
            records = _round(plan, store, records, scratch, room, progress, changed, last=left == 0)
            if unfinished := [str(record.trial) for record in records if not record.state.ended]:
                progress.say(f"lanes were lost: trials {', '.join(unfinished)} go on from their last epochs")
            elif agenda.is_done(plan.spec, records):
                break
    return records


def _round(
    plan: Plan,
    store: Store,
    earlier: list[Record],
    scratch: str,
    room: Room,
    progress: Progress,
    changed: Callable[[Record], None],
    last: bool,
) -> list[Record]:
    ended = [record for record in _searched(earlier) if record.state.ended]
    optuna_study = OptunaStudy(plan.spec, seed=plan.spec.seed)
    for record in ended:
        optuna_study.tell(record)
    given, free = list(agenda.given(plan.spec, earlier)), agenda.free(plan.spec, earlier)
    config = {"settings": plan.settings, "scratch": scratch}
    again = partial(_again, plan, progress) if plan.spec.finalists.replicates else None
    searcher = StudySearcher(given, free, optuna_study, config, room.lanes, again)
    stopping = scheduler(plan.spec, ended, plan.objective)
    recorder = Recorder(
        store,
        plan.settings,
        earlier,
        searcher,
        optuna_study,
        plan.spec.finalists.top,
        changed,
        partial(session.check, plan, store),
        last,
        progress.say,
    )
    most = len(given) + len(free) + plan.spec.finalists.replicates
    try:
        _tune(plan, searcher, stopping, recorder, most, scratch)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # once more, and what is left is not waited for
        recorder.close(lambda: progress.say("sending the last records; Ctrl-C leaves them to be trained again"))
    return sorted(recorder.records.values(), key=lambda record: record.trial)


def _end_the_stopped(plan: Plan, store: Store, earlier: list[Record]) -> None:
    """Killed between a rung's decision and its record, a trial would train an epoch more than it should have."""
    earlier = _searched(earlier)
    stopping = scheduler(plan.spec, [record for record in earlier if record.state.ended], plan.objective)
    for record in earlier:
        if record.state.ended or not isinstance(stopping, Rungs) or not stopping.stops(record.epochs):
            continue
        if set(record.files.values()) <= set(store.names(record.folder)):
            record.state, record.reason, record.finished = State.PRUNED, stopped_at(record), now()
            end_in_store(store, record)


def _searched(records: list[Record]) -> list[Record]:
    """Without replicates: nothing that decides in a search hears of them."""
    return [record for record in records if record.replicate_of is None]


def _again(plan: Plan, progress: Progress) -> list[Proposal]:
    """Once the search has ended."""
    found = agenda.replicates(plan.spec, progress.tally.records)
    progress.tally.trials = len(progress.tally.records) + len(found)
    if found:
        trials = ", ".join(map(str, dict.fromkeys(proposal.replicate_of for proposal in found)))
        progress.say(f"the best are trained again, with other seeds: trials {trials}")
    return found


def _tune(plan: Plan, searcher: StudySearcher, stopping: Any, recorder: Recorder, samples: int, scratch: str) -> None:
    tune.Tuner(
        Lane,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=stopping,
            num_samples=samples,
            max_concurrent_trials=min(plan.most_lanes, MOST_LANES),
            reuse_actors=True,
            trial_name_creator=partial(_trial_name, plan.name),
            trial_dirname_creator=partial(_trial_name, plan.name),
        ),
        run_config=tune.RunConfig(
            name=plan.name,
            storage_path=scratch,
            callbacks=[recorder],
            failure_config=tune.FailureConfig(max_failures=LANE_RESTARTS),
            # Trials' checkpoints are their workers'. Tune would look for the driver's folder on the lane's node.
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    ).fit()


def _trial_name(study: str, trial: Any) -> str:
    """A function of its own: Tune pickles it with every trial, and a lambda here would take the plan's pack along."""
    return f"{study}-{trial.config['trial']}"


def _score_finalists(plan: Plan, store: Store, records: list[Record]) -> None:
    """Those not scored yet: the sealed test split is opened once for each."""
    chosen = leaders.finalists(records, plan.objective, plan.spec.finalists.top)
    if lost := [record.trial for record in chosen if not {"best", "val_counts"} <= set(record.files)]:
        print(f"trials {', '.join(map(str, lost))} are not scored: their weights are lost; see study.retry", flush=True)
    chosen = [record for record in chosen if record.trial not in lost]
    waiting = [record for record in chosen if record.test is None]
    if not waiting:
        return
    names = ", ".join(str(record.trial) for record in waiting)
    print(f"scoring the finalists on the sealed test split: trials {names}", flush=True)
    dataset = data.load(plan.spec.dataset, plan.prepared.data_dir, download=False)
    scored = finalists.score(plan.settings, dataset, waiting, _searched(chosen), plan.prepared.cluster.joined)
    for record in waiting:
        found = scored[record.trial]
        record.test, record.files = found.scores, record.files | found.files
        record.extra |= {"test_scored": now(), "latency_ms": round(found.latency_ms, 3)}
        write_record(store, record)
