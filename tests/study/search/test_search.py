"""What a study does next: the order of trials, pauses and promotions, and what an earlier session left unfinished."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from own_specs import SEARCHED, WITH_BASELINES

from seg.experiment import Experiment
from study.search import space
from study.search.account import Account, Meter
from study.search.schedulers import Decision
from study.search.search import Search
from study.search.searcher import Proposal
from study.spec import Spec, load_spec
from study.spec.budget import parse
from study.store.records import Record, State, Used


def proposals(search: Search) -> Iterator[Proposal]:
    while (proposal := search.next()) is not None:
        yield proposal


def stopping(scheduler: str) -> str:
    return f"early_stopping={{scheduler: {scheduler}, min_epochs: 1, reduction_factor: 3}}"


def small(scheduler: str, trials: int = 6, epochs: int = 9) -> Spec:
    return load_spec(SEARCHED, [stopping(scheduler), f"trials={trials}", f"epochs={epochs}", "finalists=1"])


class Running:
    """A trial as it runs: each score is an epoch more."""

    def __init__(self, search: Search, make_record: Any, proposal: Proposal | None = None):
        proposal = proposal or search.next()
        assert proposal is not None
        self.search, self.trial = search, proposal.trial
        about = {"experiment": proposal.experiment, "source": proposal.source, "replicate_of": proposal.replicate_of}
        self.record = proposal.record or make_record(proposal.trial, State.RUNNING, [], **about)

    def scores(self, *values: float | None) -> Decision:
        for value in values:
            epoch = len(self.record.epochs) + 1
            self.record.epochs.append({"epoch": epoch, "val_iou": value, "seconds": 1.0, "images_per_second": 1.0})
            best = self.search._objective.kept_row(self.record.epochs)
            self.record.best_epoch = best["epoch"] if best else None
            decision = self.search.judge(self.record)
        return decision

    def end(self, state: State) -> None:
        self.record.state = state
        self.search.end(self.record)


# The order


def test_what_is_unfinished_comes_first_then_baselines_then_the_search(spec: Spec, make_record: Any) -> None:
    going_on = make_record(7, State.RUNNING, [0.1, 0.2], experiment=Search(spec, [])._searcher.ask(7))
    search = Search(spec, [going_on])
    found = list(itertools.islice(proposals(search), 9))
    assert [p.trial for p in found] == [7, 0, 1, 2, 3, 4, 5, 6, 8]
    assert [p.source for p in found[:6]] == ["search", *(b.name for b in spec.baselines), "search"]
    assert found[0].record is going_on and all(p.record is None for p in found[1:])
    assert [p.experiment for p in found[1:5]] == [experiment for _, experiment in space.baselines(spec)]


def test_a_trial_whose_first_record_was_never_sent_is_proposed(spec: Spec, make_record: Any) -> None:
    earlier = [make_record(trial) for trial in range(30) if trial not in (2, 17)]
    assert [p.trial for p in proposals(Search(spec, earlier))] == [2, 17]


@pytest.mark.parametrize("scheduler", ["asha", "median", "none"])
def test_without_pauses_it_has_finished_once_the_last_trial_is_out(scheduler: str) -> None:
    search = Search(small(scheduler), [])
    assert not search.finished
    assert len(list(proposals(search))) == 6 and search.finished


# Pauses


def test_a_paused_trial_goes_on_before_a_new_one_begins(make_record: Any) -> None:
    search = Search(small("promoting_asha"), [])
    first, second, third = (Running(search, make_record) for _ in range(3))
    assert first.scores(0.5) is second.scores(0.4) is third.scores(0.3) is Decision.PAUSE
    proposal = search.next()
    assert proposal is not None and proposal.record is first.record and proposal.trial == first.trial
    assert proposal.experiment == Experiment.from_json(first.record.experiment)
    following = search.next()
    assert following is not None and following.record is None


def test_a_study_ends_with_paused_trials_settled(make_record: Any) -> None:
    """Four trials, factor 3: one goes on, and is the only one left to."""
    search = Search(small("promoting_asha", trials=4), [])
    trials = [Running(search, make_record) for _ in range(4)]
    assert search.next() is None and not search.finished, "one of those that run may be promoted yet"
    for trial, score in zip(trials, (0.2, 0.5, 0.3, 0.1), strict=True):
        trial.scores(score)
        settled = [record.trial for record in search.settled()]
        assert settled == {0: [], 1: [0], 2: [2], 3: [3]}[trial.trial]
    best = Running(search, make_record)
    assert best.trial == 1 and search.next() is None and not search.finished
    assert best.scores(0.5, 0.6) is Decision.PAUSE
    assert not search.finished
    again = Running(search, make_record)
    assert again.trial == 1, "nobody else is left, and one trial is trained to the end"
    again.scores(*[0.6] * 5)
    again.end(State.COMPLETE)
    assert search.finished and search.next() is None and search.settled() == []


def test_a_trial_that_fails_leaves_the_others_to_go_on(make_record: Any) -> None:
    search = Search(small("promoting_asha", trials=2), [])
    first, second = Running(search, make_record), Running(search, make_record)
    assert first.scores(0.5) is Decision.PAUSE and search.next() is None
    second.end(State.FAILED)
    assert not search.finished
    best = search.next()
    assert best is not None and best.trial == first.trial


def test_paused_trials_wait_for_another_session_where_one_was_left(make_record: Any) -> None:
    """Its lane died for good in this one: what it will be worth, nobody knows yet."""
    search = Search(small("promoting_asha", trials=3), [])
    first, second, third = (Running(search, make_record) for _ in range(3))
    assert first.scores(0.5) is second.scores(0.4) is Decision.PAUSE
    assert [record.trial for record in search.settled()] == [1], "of three, one goes on"
    search.leave(third.record)
    assert search.next() is None and search.finished and search.settled() == []


# An earlier session


def test_whoever_was_killed_between_a_rungs_decision_and_its_record_has_stopped(spec: Spec, make_record: Any) -> None:
    """Rungs are at epochs 1 and 3; six trials with 0.7 have been at both."""
    ended = [make_record(trial, values=[0.5, 0.6, 0.7]) for trial in range(6)]
    bad, good = make_record(6, State.RUNNING, [0.1, 0.1, 0.1]), make_record(7, State.RUNNING, [0.9, 0.9, 0.9])
    between = make_record(8, State.RUNNING, [0.5, 0.1])
    search = Search(spec, [*ended, bad, good, between])
    assert [record.trial for record in search.stopped] == [6]
    assert [proposal.trial for proposal in itertools.islice(proposals(search), 3)] == [7, 8, 9]


def test_whose_files_were_not_sent_is_judged_when_the_epoch_is_trained_again(spec: Spec, make_record: Any) -> None:
    ended = [make_record(trial, values=[0.5, 0.6, 0.7]) for trial in range(6)]
    bad = make_record(6, State.RUNNING, [0.1, 0.1, 0.1])
    search = Search(spec, [*ended, bad], sent=lambda record: False)
    assert search.stopped == []
    proposal = search.next()
    assert proposal is not None and proposal.trial == 6
    assert search.judge(bad) is Decision.STOP


def test_paused_trials_of_an_earlier_session_are_paused(make_record: Any) -> None:
    spec = small("promoting_asha", trials=9)
    known = [make_record(trial, State.RUNNING, [0.1 * trial]) for trial in range(1, 4)]
    for record in known:
        record.extra["paused_at"] = 1
    asked: list[int] = []
    search = Search(spec, known, sent=lambda record: bool(asked.append(record.trial)))
    assert asked == [], "of a paused trial the store is not asked: there may be thousands"
    first = search.next()
    assert first is not None and (first.trial, first.record) == (3, known[2]), "the best third of three"
    assert [proposal.trial for proposal in itertools.islice(proposals(search), 6)] == [0, 4, 5, 6, 7, 8]
    assert search.next() is None and not search.finished


def test_a_trial_that_is_held_back_beyond_its_rung_is_so_after_a_restart(make_record: Any) -> None:
    spec = small("promoting_asha", trials=9)
    beyond = make_record(1, State.RUNNING, [0.1, 0.9])
    beyond.extra["paused_at"] = 2
    better = [make_record(trial, State.PRUNED, [0.5]) for trial in (2, 3)]
    search = Search(spec, [beyond, *better])
    assert [proposal.trial for proposal in itertools.islice(proposals(search), 2)] == [0, 4]


def test_a_restarted_search_promotes_as_the_first_one_would(make_record: Any) -> None:
    spec = small("promoting_asha", trials=12)
    first = Search(spec, [])
    trials = [Running(first, make_record) for _ in range(6)]
    for trial, score in zip(trials, (0.3, 0.6, 0.2, 0.5, 0.4, 0.1), strict=True):
        trial.scores(score)
        trial.record.extra["paused_at"] = 1
    second = Search(spec, [trial.record for trial in trials])
    promoted = [[p.trial for p in itertools.islice(proposals(search), 3)] for search in (first, second)]
    assert promoted == [[1, 3, 6], [1, 3, 6]]


def test_all_epochs_recorded_and_no_end_is_no_rung(make_record: Any) -> None:
    """Killed before its end was written: its last epoch is trained again."""
    search = Search(small("median", epochs=3), [make_record(0, State.RUNNING, [0.1, 0.2, 0.3], epochs=3)])
    proposal = search.next()
    assert proposal is not None and proposal.trial == 0


def test_least_is_best_where_the_study_says_so(make_record: Any) -> None:
    spec = load_spec(
        WITH_BASELINES, ["objective={metric: val_loss, mode: min}", "epochs=9", "early_stopping.min_epochs=1"]
    )
    kind = {"metric": "val_loss", "mode": "min"}
    search = Search(spec, [make_record(trial, values=[0.5], **kind) for trial in range(5)])
    assert search.judge(make_record(9, State.RUNNING, [0.6], **kind)) is Decision.STOP
    assert search.judge(make_record(8, State.RUNNING, [0.4], **kind)) is Decision.GO_ON


# The best with other seeds


def seeded(scheduler: str, *overrides: str, trials: int = 3) -> Spec:
    wanted = ["finalists={top: 1, seeds: 3}", *overrides]
    return load_spec(SEARCHED, [stopping(scheduler), f"trials={trials}", "epochs=9", *wanted])


@pytest.mark.parametrize("scheduler", ["asha", "promoting_asha", "hyperband", "median", "none"])
def test_the_best_with_other_seeds_waits_for_all_of_the_search(make_record: Any, scheduler: str) -> None:
    told: list[list[int]] = []
    search = Search(seeded(scheduler), [], on_replicates=lambda left: told.append([p.trial for p in left]))
    running = [Running(search, make_record) for _ in range(3)]
    assert search.next() is None and not search.finished
    for trial in running[1:]:
        trial.end(State.FAILED)
        assert search.next() is None and not search.finished and not told
    whole(running[0])
    again = [search.next(), search.next()]
    assert [p and (p.trial, p.replicate_of) for p in again] == [(100_000, 0), (200_000, 0)]
    assert search.next() is None and search.finished and told == [[100_000, 200_000]]


def whole(trial: Running) -> None:
    """To its end, however often it pauses."""
    while len(trial.record.epochs) < 9:
        if trial.scores(0.5) is Decision.PAUSE:
            assert trial.search.settled() == [] and trial.search.next() is not None
    trial.end(State.COMPLETE)


@pytest.mark.parametrize("scheduler", ["asha", "promoting_asha", "hyperband", "median"])
def test_whatever_a_replicate_does_it_goes_on_and_nobody_hears_of_it(make_record: Any, scheduler: str) -> None:
    search = Search(seeded(scheduler, trials=1), [])
    whole(Running(search, make_record))
    known = dict(search._searcher.history.trials)  # type: ignore[attr-defined]
    again = Running(search, make_record)
    assert again.scores(*[0.01] * 8) is Decision.GO_ON
    again.end(State.COMPLETE)
    assert search._searcher.history.trials == known and list(known) == [0]  # type: ignore[attr-defined]
    assert search.settled() == []


def test_unfinished_replicates_wait_for_more_trials(make_record: Any) -> None:
    """A study that had ended is given a trial more, which comes to lead: its seeds are others'."""
    ended = [make_record(trial) for trial in range(3)]
    unfinished = make_record(100_000, State.RUNNING, [0.4], replicate_of=0)
    search = Search(seeded("none", trials=4), [*ended, unfinished])
    fourth = Running(search, make_record)
    assert fourth.trial == 3 and search.next() is None
    fourth.scores(0.9)
    fourth.end(State.COMPLETE)
    assert [(p.trial, p.record) for p in proposals(search)] == [(100_000, unfinished), (100_003, None), (200_003, None)]


def test_a_trial_left_for_another_session_leaves_the_replicates_to_it(make_record: Any) -> None:
    search = Search(seeded("none"), [make_record(trial) for trial in range(2)])
    search.leave(Running(search, make_record).record)
    assert search.next() is None and search.finished


def test_a_replicate_left_for_another_session_does_not_hold_the_others_up(make_record: Any) -> None:
    search = Search(seeded("none"), [make_record(trial) for trial in range(3)])
    search.leave(Running(search, make_record).record)
    assert [p.trial for p in proposals(search)] == [200_000] and search.finished


# Several objectives


def test_early_stopping_goes_by_the_first_objective(make_record: Any) -> None:
    """The trial that is stopped is the cheapest of all."""
    search = Search(
        load_spec(SEARCHED, [stopping("asha"), "objective=[{metric: val_iou}, {metric: latency_ms, mode: min}]"]), []
    )
    trials = [Running(search, make_record) for _ in range(4)]
    for latency_ms, trial in enumerate(reversed(trials)):
        trial.record.latency_ms = float(latency_ms)
    decisions = [trial.scores(score) for trial, score in zip(trials, (0.5, 0.6, 0.7, 0.1), strict=True)]
    assert decisions == [Decision.GO_ON] * 3 + [Decision.STOP]


# Budgets


def account(budget: str, hours: float = 0.0, gpus: float = 0.0) -> Account:
    """A clock that stands still: what is spent is what was spent."""
    return Account(parse(budget), {}, gpus, Meter(Used(hours), list, clock=lambda: 0.0))


def running(make_record: Any, trial: int, *values: float) -> Record:
    record: Record = make_record(trial, State.RUNNING, values)
    record.gpus = 1.0
    return record


def test_what_is_spent_ends_every_trial_with_its_epoch(make_record: Any) -> None:
    """GPU-hours: the epoch that has just ended is among them."""
    search = Search(small("none"), [], account=account("1gpu-hours", gpus=1.0))
    first, second = Running(search, make_record), Running(search, make_record)
    for trial in (first, second):
        trial.record.gpus = 1.0
    assert first.scores(0.5) is Decision.GO_ON
    first.record.epochs[-1]["seconds"] = 3000.0
    second.record.epochs.append({"epoch": 1, "val_iou": 0.5, "seconds": 599.0, "images_per_second": 1.0})
    assert search.judge(first.record) is search.judge(second.record) is Decision.GO_ON
    assert second.scores(0.6) is Decision.STOP
    assert search.why_stopped(second.record) == "stopped at epoch 2: 1 of 1 GPU-hours spent"
    second.end(State.PRUNED)
    assert first.scores(0.6) is Decision.STOP
    assert search.next() is None and search.finished, "no other begins"


def test_nothing_is_begun_that_may_not_end_but_what_has_begun_goes_on(make_record: Any) -> None:
    """A trial of 2 s is there; of the hour, a second is left. Baselines that have not begun are trials as well."""
    spec = load_spec(WITH_BASELINES, ["trials=30", "epochs=9"])
    ended, going_on = make_record(9), make_record(8, State.RUNNING, [0.1], epochs=9)
    left = account("1h", hours=3599 / 3600)
    left.change(ended)
    search = Search(spec, [ended, going_on], account=left)
    assert [p.trial for p in proposals(search)] == [8] and search.finished and left.closed


@pytest.mark.parametrize(("hours", "begins"), [(0.7, True), (0.75, True), (0.76, False), (1.5, False)])
def test_a_trial_that_could_not_be_finished_is_not_begun(make_record: Any, hours: float, begins: bool) -> None:
    """Nine epochs of 500 s are 1.25 of the two hours. No trial has ended: it goes by the pace of the one that runs."""
    search = Search(
        load_spec(SEARCHED, [RUNGS, "trials=9", "epochs=9", "finalists=1"]), [], account=account("2h", hours)
    )
    first = Running(search, make_record)
    first.record.epochs.append({"epoch": 1, "val_iou": 0.5, "seconds": 500.0, "images_per_second": 1.0})
    search.judge(first.record)
    assert (search.next() is not None) == begins


def test_a_quick_trial_does_not_make_room_for_a_slow_one(make_record: Any) -> None:
    """A frozen encoder's epochs take 100 s, the next trial's may take 500 s: nine of those do not fit into 4400 s. What
    the first epoch of a trial takes to warm up is not counted."""
    left = account("2h", hours=2 - 4400 / 3600)
    search = Search(load_spec(SEARCHED, [RUNGS, "trials=9", "epochs=9", "finalists=1"]), [], account=left)
    trials = [Running(search, make_record) for _ in range(2)]
    for trial, seconds in zip(trials, ((2000.0, 500.0), (300.0, 100.0)), strict=True):
        for epoch, taken in enumerate(seconds, 1):
            row = {"epoch": epoch, "val_iou": 0.5, "seconds": taken, "images_per_second": 1.0}
            trial.record.epochs.append(row)
            search.judge(trial.record)
    assert search.next() is None


RUNGS = "early_stopping={scheduler: promoting_asha, min_epochs: 3, reduction_factor: 3}"


@pytest.mark.parametrize(("seconds_left", "go_on"), [(6000.0, [1, 2]), (5999.0, [])])
def test_at_the_end_of_a_budget_paused_trials_go_on_if_they_can_be_finished(
    make_record: Any, seconds_left: float, go_on: list[int]
) -> None:
    """Of three at the first rung one goes on by the rule, then the next best: each has six epochs of 1000 s to come."""
    left = account("2h", hours=2 - 20000 / 3600)
    search = Search(load_spec(SEARCHED, [RUNGS, "trials=9", "epochs=9", "finalists=1"]), [], account=left)
    trials = [Running(search, make_record) for _ in range(3)]
    for trial, score in zip(trials, (0.2, 0.5, 0.3), strict=True):
        rows = [{"epoch": e, "val_iou": score, "seconds": 1000.0, "images_per_second": 1.0} for e in (1, 2, 3)]
        for row in rows:
            trial.record.epochs.append(row)
            search.judge(trial.record)
    search._account = account("2h", hours=2 - seconds_left / 3600)
    found = []
    while (proposal := search.next()) is not None:
        found.append(proposal.trial)
        trials[proposal.trial].record.state = State.COMPLETE
        search.end(trials[proposal.trial].record)
    assert found[:2] == go_on
    assert {record.trial for record in search.settled()} == {0, 1, 2} - set(found)
    assert search.finished and search.next() is None and search.settled() == [], "an ended trial does not go on"


def test_a_paused_trial_goes_on_while_anything_is_left(make_record: Any) -> None:
    left = account("1gpu-hours", gpus=1.0)
    search = Search(small("promoting_asha", trials=40), [], account=left)
    trials = [Running(search, make_record) for _ in range(3)]
    for trial, score in zip(trials, (0.2, 0.5, 0.3), strict=True):
        trial.record.gpus = 1.0
        assert trial.scores(score) is Decision.PAUSE
        trial.record.extra["paused_at"] = 1
        left.change(trial.record)
    left.change(make_record(39, State.COMPLETE, [0.1]))
    trials[0].record.epochs[0]["seconds"] = 3588.0
    left.change(trials[0].record)
    best = Running(search, make_record)
    assert best.trial == trials[1].trial, "0.5 of 3590 s of the hour"
    assert search.next() is None, "and no new one"
    trials[0].record.epochs[0]["seconds"] = 3600.0
    left.change(trials[0].record)
    assert best.scores(0.6) is Decision.STOP
    best.end(State.PRUNED)
    assert search.next() is None and search.finished
    assert sorted(record.trial for record in search.settled()) == [trials[0].trial, trials[2].trial]


def test_replicates_begin_as_long_as_the_budget_holds_what_they_repeat(make_record: Any) -> None:
    """The best took 20 s, the others 2 s each: of the hour, 19 s are left, or 21."""
    ended = [make_record(0, values=[0.9] * 10), make_record(1), make_record(2)]
    for left, trials in ((19, []), (21, [100_000, 200_000])):
        search = Search(seeded("none"), ended, account=account("1h", hours=1 - left / 3600))
        assert search.finished == (not trials)
        assert [p.trial for p in proposals(search)] == trials, "of hours, two side by side take no more than one"


def test_a_budget_that_ends_before_the_search_leaves_nothing_for_other_seeds(make_record: Any) -> None:
    left = account("1h", hours=3599 / 3600)
    left.change(make_record(0))
    search = Search(seeded("none"), [make_record(0)], account=left)
    assert search.next() is None and search.finished and left.closed


def test_a_replicate_ends_with_the_budget(make_record: Any) -> None:
    """And one that an earlier session began, when that is spent, ends as it stands."""
    spent = account("1gpu-hours", gpus=1.0)
    search = Search(seeded("none"), [make_record(trial) for trial in range(3)], account=spent)
    again = Running(search, make_record)
    again.record.gpus = 1.0
    assert again.scores(0.5) is Decision.GO_ON
    again.record.epochs[-1]["seconds"] = 3600.0
    assert again.scores(0.5) is Decision.STOP
    assert search.why_stopped(again.record) == "stopped at epoch 2: 1 of 1 GPU-hours spent"
    going_on = [make_record(trial) for trial in range(3)] + [again.record]
    later = Search(seeded("none"), going_on, account=account("2h", hours=2.0))
    assert later.stopped == [again.record]
    again.record.state = State.PRUNED
    later.end(again.record)
    assert later.next() is None and later.finished


@pytest.mark.parametrize("scheduler", ["asha", "promoting_asha"])
def test_what_a_spent_study_left_unfinished_ends_as_it_stands(make_record: Any, scheduler: str) -> None:
    """Not what has run all its epochs, which has only to be called finished, nor what has lost its last epoch."""
    paused = make_record(1, State.RUNNING, [0.5], epochs=9)
    paused.extra["paused_at"] = 1
    whole = make_record(2, State.RUNNING, [0.1] * 9, epochs=9)
    unsent = make_record(3, State.RUNNING, [0.1, 0.2], epochs=9)
    earlier = [make_record(0, State.RUNNING, [], epochs=9), paused, whole, unsent]
    search = Search(small(scheduler), earlier, lambda record: record is not unsent, account("2h", hours=2.0))
    assert [record.trial for record in search.stopped] == [0, 1]
    assert [p.trial for p in proposals(search)] == [2, 3] and search.settled() == []
