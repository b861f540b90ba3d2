"""Conduct a study from its plan to its finalists: lanes, search, and records. study/run.py is the command line."""

import signal
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from seg import data
from study.driver import finalists, session, verdict
from study.driver.plan import Plan
from study.driver.progress import Progress
from study.lanes import in_process
from study.lanes.in_process import OwnLane
from study.mirror.optuna_mirror import mirrored
from study.ranking import leaders
from study.search import replicates
from study.search.account import Account, Meter
from study.search.search import Search
from study.spec import Spec
from study.store import Store
from study.store.records import Record, State, now, read_records, read_study, read_used, untrained, write_record
from study.trials.recorder import Recorder, begin_again, remove_unnamed
from study.trials.tally import Tally

if TYPE_CHECKING:
    from study.lanes.cluster import LaneCapacity

ROUNDS = 5
"""The most rounds of lanes in one session. In the last one, a trial whose lanes keep dying becomes FAILED."""


class Interrupted(Exception):
    """The study was stopped from outside, by Ctrl-C or SIGTERM. It can be resumed."""


def conduct(plan: Plan, resume: bool, again: Collection[int] = frozenset()) -> list[Record]:
    """Search, train the best trials with other seeds, and score the finalists. Return the records, all ended.

    Ray must be running, unless the only lane is in this process. The trials in `again`, which have ended, run once more
    from their start.

    Raises Interrupted on a signal, StoreError if the store was out of reach for too long, and LanesError if lanes do
    not start. Everything recorded until then is in the store. Raises StudyTaken if the name was taken meanwhile, or
    another process has resumed this study.
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
    """Turn Ctrl-C and SIGTERM into Interrupted."""

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
    """Search in rounds, and return all records, ended.

    Tune does not restart every trial whose lane died. The next round continues such trials from their records, as
    another process would.
    """
    lanes, again = plan.prepared.allotment.lanes, replicates.most(plan.spec)
    tally = Tally(plan.spec.trials, lanes, plan.objective, records, replicates=again, untrained=trivial)
    with Progress(tally) as progress:
        store = plan.patient_store(progress.say)
        room, gauges = _lanes(plan, tally, progress.say)
        meter = Meter(read_used(store), lambda: [node.kind for node in room.nodes()], began=plan.began)
        account = tally.account = plan.account(meter, records, progress.say)

        def changed(record: Record) -> None:
            account.change(record)
            progress.change(record)
            gauges(record)
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
    room: "OwnLane | LaneCapacity",
    account: Account,
    changed: Callable[[Record], None],
    progress: Progress,
    last: bool,
) -> list[Record]:
    search = Search(plan.spec, earlier, partial(_is_sent, store), account, progress.replicates)
    check_session = partial(_check_and_note, plan, store, account)
    recorder = Recorder(store, plan.settings, earlier, search, plan.contenders, changed, check_session)
    try:
        if not search.finished:
            _run_lanes(plan, search, recorder, scratch, room, progress, last)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # from here on, Ctrl-C ends the wait for records
        recorder.close(lambda: progress.say("sending the last records; Ctrl-C leaves them to be trained again"))
    return sorted(recorder.records.values(), key=lambda record: record.trial)


def _lanes(
    plan: Plan, tally: Tally, say: Callable[[str], None]
) -> tuple["OwnLane | LaneCapacity", Callable[[Record], None]]:
    """Return the lanes' number and nodes as they change, and what shows each change of a record in Ray."""
    if plan.prepared.allotment.in_process:
        return OwnLane(plan.prepared.cluster), lambda record: None
    from study.lanes.cluster import Gauges, LaneCapacity

    room = LaneCapacity(plan.prepared.allotment, plan.prepared.cluster, plan.most_lanes, say)
    return room, Gauges(plan.name, tally, room.lanes).change


def _run_lanes(
    plan: Plan,
    search: Search,
    recorder: Recorder,
    scratch: str,
    room: "OwnLane | LaneCapacity",
    progress: Progress,
    last: bool,
) -> None:
    """Train trials until none is left."""
    if plan.prepared.allotment.in_process:
        in_process.run(search, recorder, plan.settings, progress.say)
        return
    from study.lanes import tune  # imports Ray

    config = {"settings": plan.settings, "scratch": scratch}
    trials = tune.Trials(search, recorder, config, room.lanes)
    tune.run(plan.name, trials, tune.Events(recorder, trials.numbers, last, progress.say), plan.most_lanes, scratch)


def _check_and_note(plan: Plan, store: Store, account: Account) -> None:
    """Check the session, and save what the study has used, so that it is not lost with the process.

    Called many times while a study runs, on another thread.
    """
    session.check(plan, store)
    account.meter.save_at_times(store)


def _is_sent(store: Store, record: Record) -> bool:
    return set(record.files.values()) <= set(store.names(record.folder))


def _score_finalists(plan: Plan, store: Store, records: list[Record]) -> None:
    """Score the finalists that have no test scores yet, then write the verdict to study.json.

    The sealed test split is opened once for each finalist.
    """
    chosen = leaders.finalists(records, plan.spec.objectives, plan.spec.finalists.top, plan.spec.compare)
    if lost := [record.trial for record in chosen if not {"best", "val_counts"} <= set(record.files)]:
        print(f"trials {', '.join(map(str, lost))} are not scored: their weights are lost; see study.retry", flush=True)
    chosen = [record for record in chosen if record.trial not in lost]
    finished = sum(record.state is State.COMPLETE and record.replicate_of is None for record in records)
    choice = verdict.choose(store, chosen, plan.spec, finished)
    waiting = [record for record in chosen if record.test is None]
    study = read_study(store)
    judged = not waiting and "verdict" in study  # an interrupted study may have scores but no verdict
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
