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
from study import finalists, leaders, replicates, session, verdict
from study.budget import Account
from study.cluster import Room
from study.gauges import Gauges
from study.lane import GivenBack, Lane, NotStarted
from study.meter import Meter, read_used
from study.optuna_mirror import mirrored
from study.plan import Plan
from study.progress import Progress, Tally
from study.recorder import Recorder
from study.records import Record, now, read_records, read_study, untrained, write_record
from study.search import Search
from study.spec import Spec
from study.store import Store
from study.tidy import begin_again, remove_unnamed
from study.tune_loop import EachItsLane, Events, Results, Trials

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
    """Search, train the best with other seeds, then score the finalists. Ray must be up. The records, all ended.

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
    with mirrored(plan.optuna_storage, plan.name, store.uri, plan.spec, earlier, notice) as mirror:
        records = earlier if _is_done(plan.spec, earlier) else _search_interruptibly(plan, earlier, mirror)
        session.check(plan, store)
        _score_finalists(plan, store, records)
        session.check(plan, store)
        remove_unnamed(store, records)
    session.go_on(plan, store, finished=now())
    return records


def _is_done(spec: Spec, records: list[Record]) -> bool:
    searched = sum(record.replicate_of is None for record in records)
    all_ended = all(record.state.ended for record in records)
    return all_ended and searched >= spec.trials and not replicates.left(spec, records)


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
    trivial = untrained(read_study(plan.patient_store(print)), plan.objective.metric)
    with _signals_interrupt(), tempfile.TemporaryDirectory(prefix="study-", ignore_cleanup_errors=True) as scratch:
        return _search(plan, earlier, scratch, mirror, trivial and trivial[1])


def _search(
    plan: Plan,
    records: list[Record],
    scratch: str,
    mirror: Callable[[Record], None],
    trivial: float | None = None,
) -> list[Record]:
    """In rounds: what a round leaves unfinished, because lanes died where Tune does not start a trial again, the next
    takes up from the records, as another process would. All records, ended."""
    lanes, again = plan.prepared.allotment.lanes, replicates.most(plan.spec)
    tally = Tally(plan.spec.trials, lanes, plan.objective, records, replicates=again, untrained=trivial)
    with Progress(tally) as progress:
        store = plan.patient_store(progress.say)
        room = Room(plan.prepared.allotment, plan.prepared.cluster, plan.most_lanes, progress.say)
        meter = Meter(read_used(store), room.nodes, began=plan.began)
        account = tally.account = plan.account(meter, records, progress.say)
        gauges = Gauges(plan.name, tally, room.lanes)

        def changed(record: Record) -> None:
            account.change(record)
            progress.change(record)
            gauges.change(record)
            mirror(record)

        for left in reversed(range(ROUNDS)):
            records = _round(plan, store, records, scratch, room, account, changed, progress, last=left == 0)
            if unfinished := [str(record.trial) for record in records if not record.state.ended]:
                progress.say(f"lanes were lost: trials {', '.join(unfinished)} go on from their last epochs")
            elif account.closed or _is_done(plan.spec, records):
                break
        session.check(plan, store)
        meter.save(store)
    return records


def _round(
    plan: Plan,
    store: Store,
    earlier: list[Record],
    scratch: str,
    room: Room,
    account: Account,
    changed: Callable[[Record], None],
    progress: Progress,
    last: bool,
) -> list[Record]:
    search = Search(plan.spec, earlier, partial(_is_sent, store), account, progress.replicates)
    check_session = partial(_check_and_note, plan, store, account)
    recorder = Recorder(store, plan.settings, earlier, search, plan.contenders, changed, check_session)
    trials = Trials(search, recorder, {"settings": plan.settings, "scratch": scratch}, room.lanes)
    try:
        if not search.finished:
            _tune(plan, trials, Events(recorder, trials.numbers, last, progress.say), recorder, scratch)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # once more, and what is left is not waited for
        recorder.close(lambda: progress.say("sending the last records; Ctrl-C leaves them to be trained again"))
    return sorted(recorder.records.values(), key=lambda record: record.trial)


def _check_and_note(plan: Plan, store: Store, account: Account) -> None:
    """Many times while a study runs, on another thread: what it has used is not lost with its process."""
    session.check(plan, store)
    account.meter.save_at_times(store)


def _is_sent(store: Store, record: Record) -> bool:
    return set(record.files.values()) <= set(store.names(record.folder))


def _tune(plan: Plan, trials: Trials, events: Events, recorder: Recorder, scratch: str) -> None:
    tune.Tuner(
        Lane,
        tune_config=tune.TuneConfig(
            search_alg=trials,
            scheduler=EachItsLane(),
            num_samples=-1,  # until the search has finished: a trial that goes on after a pause is a new one to Tune
            max_concurrent_trials=min(plan.most_lanes, MOST_LANES),
            reuse_actors=True,
            trial_name_creator=partial(_trial_name, plan.name),
            trial_dirname_creator=partial(_trial_name, plan.name),
        ),
        run_config=tune.RunConfig(
            name=plan.name,
            storage_path=scratch,
            stop=Results(recorder, trials.numbers, events),
            callbacks=[events],
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
    """Those not scored yet: the sealed test split is opened once for each. Then the verdict, in study.json."""
    chosen = leaders.finalists(records, plan.spec.objectives, plan.spec.finalists.top, plan.spec.compare)
    if lost := [record.trial for record in chosen if not {"best", "val_counts"} <= set(record.files)]:
        print(f"trials {', '.join(map(str, lost))} are not scored: their weights are lost; see study.retry", flush=True)
    chosen = [record for record in chosen if record.trial not in lost]
    choice = verdict.choose(store, chosen, plan.spec)
    waiting = [record for record in chosen if record.test is None]
    study = store.read_json("study.json")
    judged = not waiting and "verdict" in study  # a study cut off in between has scores without a verdict
    if choice is None or judged:
        return
    if waiting:
        names = ", ".join(str(record.trial) for record in waiting)
        print(f"scoring the finalists on the sealed test split: trials {names}", flush=True)
    dataset = data.load(plan.spec.dataset, plan.prepared.data_dir, download=False)
    leading = [record for record in chosen if record.replicate_of is None]
    leading.sort(key=lambda record: record.trial != choice.trial)
    scored, trivial = finalists.score(plan.settings, dataset, waiting, leading, plan.prepared.cluster.joined)
    for record in waiting:
        found = scored[record.trial]
        record.test, record.files = found.scores, record.files | found.files
        record.extra["test_scored"] = now()
        write_record(store, record)
    images = study["dataset"]["images"]
    session.note(store, verdict=verdict.give(store, plan.spec, chosen, choice, trivial, images))
