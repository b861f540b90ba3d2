"""Budgets: what they are, what counts against them, and whether another trial fits. By hand, on a clock of our own."""

from typing import Any

import pytest

from study.search.account import Account, Meter, gpu_hours
from study.spec.budget import Budget, parse
from study.store import Store
from study.store.records import Record, State, Used, read_used

PRICES = {"default": 1.0, "big": 4.0}


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def hours(self, more: float) -> None:
        self.seconds += 3600 * more


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("2h", Budget(2, "hours")),
        ("90min", Budget(1.5, "hours")),
        ("1.5d", Budget(36, "hours")),
        ("40gpu-hours", Budget(40, "GPU-hours")),
        ("25 USD", Budget(25, "usd")),
    ],
)
def test_what_is_a_budget(text: str, budget: Budget) -> None:
    assert parse(text) == budget


@pytest.mark.parametrize("text", ["", "2", "h", "0h", "-1h", "2 hours", "25€", "1e3h", "2h30min", "nan usd"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="must be an amount and its unit"):
        parse(text)


# The meter


def test_node_hours_follow_the_nodes_that_come_and_go(clock: Clock) -> None:
    nodes = ["head"]
    meter = Meter(Used(1.0, {"big": 2.0}), lambda: nodes, clock)
    clock.hours(0.5)
    meter.read()
    nodes += ["big", "big"]
    clock.hours(1.0)
    used = meter.read()
    assert used.hours == 2.5 and used.node_hours == {"head": 1.5, "big": 4.0}
    assert used.usd(PRICES) == 1.5 * 1 + 4 * 4 and meter.usd_per_hour(PRICES) == 9.0
    assert meter.read() == used, "no time has passed"


def test_what_was_used_is_kept_for_the_next_session(tmp_path: Any, clock: Clock) -> None:
    store = Store(str(tmp_path))
    assert read_used(store) == Used()
    first = Meter(read_used(store), lambda: ["small"], clock)
    clock.hours(1)
    first.save(store)
    clock.seconds += 9
    first.save_at_times(store)
    assert read_used(store) == Used(1.0, {"small": 1.0})
    clock.seconds += 1
    first.save_at_times(store)
    second = Meter(read_used(store), lambda: [""], clock)
    clock.hours(2)
    assert second.read().hours == pytest.approx(3 + 10 / 3600)
    assert second.read().node_hours == pytest.approx({"small": 1 + 10 / 3600, "": 2.0})


# The account


def trained(make_record: Any, trial: int, state: State, hours: float, gpus: float = 1.0) -> Record:
    record: Record = make_record(trial, state, [0.5])
    record.epochs[0]["seconds"], record.gpus = 3600 * hours, gpus
    return record


def test_hours_hold_another_trial_as_long_as_those_before(make_record: Any, clock: Clock) -> None:
    said: list[str] = []
    account = Account(parse("3h"), {}, 0.0, Meter(Used(), list, clock), say=said.append)
    assert account.holds_another(), "nothing is known yet"
    clock.hours(1)
    for trial, hours in enumerate((0.5, 1.0)):
        account.change(trained(make_record, trial, State.COMPLETE, hours))
    account.change(trained(make_record, 2, State.FAILED, 9.0))
    clock.hours(1.25)
    assert account.holds_another() and account.hours_left == 0.75 and not said, "exactly the mean of 0.75 h"
    clock.hours(0.01)
    assert not account.holds_another() and not account.exhausted
    assert said == [
        "budget nearly used (2 h 15 min of 3 h 00 min): no new trials will start; running trials may finish"
    ]
    for trial in range(3, 50):
        account.change(trained(make_record, trial, State.PRUNED, 0.01))
    assert not account.holds_another() and len(said) == 1, "once it is said, no further trial is begun"
    clock.hours(0.74)
    assert account.exhausted and account.hours_left == 0


def test_of_one_that_is_known_to_take_longer_its_own_hours_count(make_record: Any, clock: Clock) -> None:
    account = Account(parse("3h"), {}, 0.0, Meter(Used(), list, clock))
    account.change(trained(make_record, 0, State.COMPLETE, 0.5))
    clock.hours(2)
    assert account.holds_another() and account.holds_another(hours=1.0)
    assert not account.holds_another(hours=1.01)


def test_the_recipe_and_published_configurations_make_no_average(make_record: Any, clock: Clock) -> None:
    """They are trained to their ends, which searched trials seldom are."""
    account = Account(parse("3h"), {}, 0.0, Meter(Used(), list, clock))
    for trial, source in enumerate(("recipe", "R1 model 1", "search")):
        record = trained(make_record, trial, State.COMPLETE, 2.0 if source != "search" else 0.25)
        record.source = source
        account.change(record)
    clock.hours(2.75)
    assert account.holds_another()
    clock.hours(0.01)
    assert not account.holds_another()


def test_a_trial_takes_at_least_what_is_asked_for(make_record: Any, clock: Clock) -> None:
    """As long as a trial needs to be judged at all; before any has ended nothing else is known."""
    for at_least, holds in ((0.0, True), (0.5, True), (0.51, False)):
        account = Account(parse("1h"), {}, 0.0, Meter(Used(0.5), list, clock))
        assert account.holds_another(at_least=at_least) == holds
    account = Account(parse("1h"), {}, 0.0, Meter(Used(0.5), list, clock))
    account.change(trained(make_record, 0, State.COMPLETE, 0.6))
    assert not account.holds_another(at_least=0.1), "the average is longer"


def test_hours_are_kept_for_what_comes_after_the_trials(clock: Clock) -> None:
    """Of hours and of money; GPU-hours are those of training alone."""
    nodes = ["head", "big"]
    for budget, spent in (("3h", 2.0), ("15usd", 2.0)):
        account = Account(parse(budget), PRICES, 4.0, Meter(Used(), lambda: nodes, clock), reserved_hours=1.0)
        clock.hours(spent - 0.01)
        assert not account.exhausted and account.hours_left == pytest.approx(0.01)
        clock.hours(0.01)
        assert account.exhausted and account.hours_left == 0
    account = Account(parse("1gpu-hours"), {}, 1.0, Meter(Used(), list, clock), reserved_hours=1.0)
    assert not account.exhausted and account.holds_another(0.9)


def test_hours_count_from_when_the_command_was_typed(clock: Clock) -> None:
    clock.hours(1)
    account = Account(parse("2h"), {}, 0.0, Meter(Used(), list, clock, began=0.0))
    assert account.spent == 1.0


def test_dollars_are_those_of_all_nodes(make_record: Any, clock: Clock) -> None:
    nodes = ["head", "big"]
    account = Account(parse("25usd"), PRICES, 1.0, Meter(Used(2.0, {"big": 2.0}), lambda: nodes, clock))
    account.change(trained(make_record, 0, State.COMPLETE, 1.0))
    assert account.spent == 8 and account.hours_left == 17 / 5
    clock.hours(2.4)
    assert account.spent == pytest.approx(20) and account.holds_another() and str(account) == "20 of 25 usd"
    clock.hours(0.01)
    assert not account.holds_another() and not account.exhausted
    clock.hours(1)
    assert account.exhausted


def test_gpu_hours_are_those_of_the_trials_and_the_running_ones_need_theirs(make_record: Any, clock: Clock) -> None:
    """Trials of an hour on two GPUs; one of them has half an hour to go."""
    account = Account(parse("10gpu-hours"), {}, 2.0, Meter(Used(), list, clock))
    for trial in range(2):
        account.change(trained(make_record, trial, State.COMPLETE, 1.0, gpus=2))
    running = trained(make_record, 2, State.RUNNING, 0.25, gpus=2)
    account.change(running)
    running.epochs[0]["seconds"] = 1800
    account.change(running)
    assert account.spent == 5 and account.hours_left == 2.5
    assert account.holds_another(), "1 for the running one, 2 for the next"
    account.change(trained(make_record, 3, State.RUNNING, 1.5, gpus=2))
    assert account.spent == 8 and not account.holds_another()
    assert not account.exhausted
    running.state = State.PRUNED
    account.change(running)
    assert account.spent == 8, "counted once"


def test_what_was_trained_in_vain_was_paid_too(make_record: Any) -> None:
    record = trained(make_record, 0, State.RUNNING, 1.0, gpus=2)
    record.extra["attempts"] = [{"epochs": [{"seconds": 900.0}, {"seconds": 900.0}]}]
    assert gpu_hours(record) == 3.0


def test_without_a_budget_there_is_always_room(make_record: Any, clock: Clock) -> None:
    account = Account(None, {}, 1.0, Meter(Used(1e9), list, clock))
    assert account.holds_another() and not account.exhausted and str(account) == ""
