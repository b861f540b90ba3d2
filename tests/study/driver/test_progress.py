"""What a person sees while a study runs: the numbers, the panel of a terminal, the lines of a pipe."""

import dataclasses
import io
import random
import re
import sys
from typing import Any

import pytest
from rich.console import Console

from seg.cli import duration
from seg.experiment import Experiment
from study.driver import progress
from study.driver.progress import Progress, choices_text
from study.ranking.objective import Objective
from study.store.records import State
from study.trials.tally import Tally, score_text

FROZEN = Experiment(
    "phantom", 64, "mobilenetv2_plain", "dice_bce", 9, decoder_lr=1e-3, encoder_freeze=True, augment="hflip_rotate"
)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """clock[0] is the time, in seconds."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (90_000, "25 h 00 min"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_tally(make_record: Any, objective: Objective, clock: list[float]) -> None:
    tally = Tally(6, 2, objective)
    assert tally.summary() == "0/6 trials, 0 epochs"
    for record in (
        make_record(0, State.COMPLETE, [0.1, 0.7, 0.6]),
        make_record(1, State.PRUNED, [0.3]),
        make_record(2, State.RUNNING, [0.2, 0.8]),
        make_record(3, State.RUNNING, []),
        make_record(4, State.FAILED, []),
    ):
        tally.update(record)
    clock[0] += 30
    assert (tally.ended, tally.epochs, [r.trial for r in tally.running]) == (3, 6, [2, 3])
    assert tally.best is not None and tally.best.trial == 2
    # 5 s an epoch; 4/3 of them the ended ones had: so many trial 3 needs and the one to come, trial 2 another one.
    assert tally.remaining_seconds == pytest.approx(5 * (4 / 3 + 4 / 3 + 1))
    assert tally.summary() == (
        "3/6 trials (1 COMPLETE, 1 FAILED, 1 PRUNED, 2 RUNNING), 6 epochs, "
        "best val_iou 0.8000 (trial 2), about 18 s left"
    )


def test_the_best_stands_beside_what_no_training_gives(make_record: Any, objective: Objective) -> None:
    tally = Tally(4, 2, objective, [make_record(3, values=[0.6131])], untrained=0.5102)
    assert "best val_iou 0.6131 (trial 3; no training: 0.5102)" in tally.summary()
    assert "best val_iou 0.6131 (trial 3; no training: 0.5102)" in " ".join(on_terminal(tally, 120))
    display, file = piped(tally)
    with display:
        display.change(make_record(0, values=[0.7]))
    assert "best val_iou 0.7000 (trial 0; no training: 0.5102)" in file.getvalue()


def test_time_left_is_at_the_pace_of_this_session(make_record: Any, objective: Objective, clock: list[float]) -> None:
    tally = Tally(10, 1, objective, [make_record(trial) for trial in range(6)])
    clock[0] += 100
    assert tally.remaining_seconds is None
    tally.update(make_record(6))
    assert tally.remaining_seconds == 300
    for trial in range(7, 10):
        tally.update(make_record(trial))
    assert tally.summary().endswith("all trials done")


def test_time_left_falls_with_every_epoch(make_record: Any, objective: Objective, clock: list[float]) -> None:
    """Two trials and a replicate of 9 epochs, one after the other, 10 s an epoch."""
    tally, left = Tally(2, 1, objective, replicates=1), []
    for trial, replicate_of in ((0, None), (1, None), (100_000, 0)):
        for epoch in range(1, 10):
            clock[0] += 10
            state = State.COMPLETE if epoch == 9 else State.RUNNING
            tally.update(make_record(trial, state, [0.5] * epoch, replicate_of=replicate_of))
            left.append(tally.remaining_seconds)
    assert left[:8] == [None] * 8
    assert left[8:] == pytest.approx([10.0 * epochs for epochs in range(18, -1, -1)])


def test_a_replicate_is_not_taken_to_stop_early(make_record: Any, objective: Objective, clock: list[float]) -> None:
    tally = Tally(2, 1, objective, replicates=2)
    for trial in (0, 1):
        tally.update(make_record(trial, State.PRUNED, [0.5]))
    tally.update(make_record(100_000, State.RUNNING, [0.5, 0.6], replicate_of=0))
    clock[0] += 40
    assert tally.remaining_seconds == pytest.approx(10 * (7 + 9))


def test_replicates_of_before_do_not_shorten_what_is_left(
    make_record: Any, objective: Objective, clock: list[float]
) -> None:
    """A study that is gone on with where no further seeds are asked for."""
    tally = Tally(2, 1, objective, [make_record(0), make_record(100_000, replicate_of=0)])
    tally.update(make_record(1, State.RUNNING, [0.5] * 3))
    clock[0] += 30
    assert tally.remaining_seconds == pytest.approx(10)


def test_least_is_best_where_the_study_says_so(make_record: Any) -> None:
    objective = Objective("val_loss", "min")
    tally = Tally(2, 1, objective, [make_record(t, values=[v], metric="val_loss") for t, v in ((0, 0.5), (1, 0.4))])
    assert "best val_loss 0.4000 (trial 1)" in tally.summary()


def test_a_leader_whose_averaged_weights_become_worse_leads_no_longer(make_record: Any, objective: Objective) -> None:
    running = make_record(1, State.RUNNING, values=[0.7])
    tally = Tally(2, 1, objective, [make_record(0, values=[0.6]), running])
    assert "best val_iou 0.7000 (trial 1)" in tally.summary()
    running.epochs.append({"epoch": 2, "val_iou": 0.5, "seconds": 2.0, "images_per_second": 100.0})
    running.best_epoch = 2
    tally.update(running)
    assert "best val_iou 0.6000 (trial 0)" in tally.summary()


def test_no_score_is_no_zero(make_record: Any, objective: Objective) -> None:
    assert score_text(make_record(0, values=[0.5]), objective) == "val_iou 0.5000"
    for values in ([], [None], [float("nan")]):
        assert score_text(make_record(0, values=values), objective).rstrip() == "val_iou -"
        assert "best" not in Tally(1, 1, objective, [make_record(0, values=values)]).summary()


def test_choices(make_record: Any) -> None:
    assert choices_text(make_record(0)) == "mobilenetv2_skip, bce, encoder 1.0e-04, decoder 1.0e-03, flips"
    assert choices_text(make_record(0, source="R1", experiment=FROZEN)) == (
        "R1: mobilenetv2_plain, dice_bce, encoder frozen, decoder 1.0e-03, hflip_rotate"
    )


# Piped


def piped(tally: Tally) -> tuple[Progress, io.StringIO]:
    file = io.StringIO()
    return Progress(tally, Console(file=file, soft_wrap=True, highlight=False, width=80)), file


def test_piped_lines_are_whole_and_plain(make_record: Any, objective: Objective) -> None:
    display, file = piped(Tally(3, 1, objective))
    failed = make_record(1, State.FAILED, [0.25], experiment=FROZEN, source="R1 model 1 (frozen, 0.1 Dice + BCE)")
    failed.reason = "RuntimeError: shapes [2, 3] and [3] do not agree in this rather long line of an error message"
    with display:
        display.change(make_record(0, State.COMPLETE, [0.1, 0.5]))
        display.change(failed)
    lines = file.getvalue().splitlines()
    assert lines[0] == (
        "trial    0  COMPLETE     2/9 epochs  val_iou 0.5000  "
        "mobilenetv2_skip, bce, encoder 1.0e-04, decoder 1.0e-03, flips"
    )
    assert lines[1].startswith("  1/3 trials (1 COMPLETE), 2 epochs, best val_iou 0.5000 (trial 0), about ")
    assert lines[2].startswith("trial    1  FAILED       1/9 epochs  val_iou 0.2500  R1 model 1 (frozen, 0.1 Dice")
    assert lines[2].endswith(failed.reason)
    assert len(lines) == 4 and "\x1b" not in file.getvalue()


def test_piped_epochs_give_a_line_every_half_minute_only(
    make_record: Any, objective: Objective, clock: list[float]
) -> None:
    display, file = piped(Tally(3, 1, objective))
    record = make_record(0, State.RUNNING, [0.1])
    for _ in range(10):
        clock[0] += 8
        display.change(record)
    assert file.getvalue().count("\n") == 2


# A terminal


def on_terminal(tally: Tally, width: int) -> list[str]:
    """Lines of the panel, without colours."""
    console = Console(force_terminal=True, width=width, file=io.StringIO())
    display = Progress(tally, console)
    console.print(display._panel())
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()]


@pytest.fixture
def busy(make_record: Any, objective: Objective) -> Tally:
    long = dataclasses.replace(FROZEN, epochs=50)
    records = [make_record(0, values=[0.9]), make_record(1, State.RUNNING, [], experiment=long, source="R1 model 1")]
    return Tally(40, 2, objective, [*records, make_record(12, State.RUNNING, [0.25, 0.5], epochs=50)])


def test_panel(busy: Tally) -> None:
    lines = on_terminal(busy, 120)
    assert lines[0] == "1/40 trials (1 COMPLETE, 2 RUNNING), 3 epochs, best val_iou 0.9000 (trial 0)"
    assert set(lines[1]) <= set("━╸╺") and len(lines[1]) == 60
    assert lines[2:] == [
        "trial  epoch  val_iou  images/s  what",
        "    1   0/50        -            R1 model 1: mobilenetv2_plain, dice_bce, encoder frozen, decoder 1.0e-03, "
        "hflip_rotate",
        "   12   2/50   0.5000       100  mobilenetv2_skip, bce, encoder 1.0e-04, decoder 1.0e-03, flips",
    ]


def test_of_many_lanes_a_panel_shows_what_the_terminal_has_lines_for(make_record: Any, objective: Objective) -> None:
    tally = Tally(400, 200, objective, [make_record(trial, State.RUNNING, [0.1]) for trial in range(200)])
    console = Console(force_terminal=True, width=120, height=30, file=io.StringIO())
    console.print(Progress(tally, console)._panel())
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    assert "and 176 more" in text and text.count("\n") <= 30


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_narrow_panel_cuts_nothing(busy: Tally, width: int) -> None:
    lines = on_terminal(busy, width)
    assert all(len(line) <= width for line in lines) and not any("…" in line for line in lines)
    words = " ".join(" ".join(lines).split())
    assert "trial epoch val_iou images/s what" in words
    assert "12 2/50 0.5000 100 mobilenetv2_skip, bce," in words


def test_lines_above_a_live_panel_stay(make_record: Any, objective: Objective) -> None:
    console = Console(force_terminal=True, width=100, file=io.StringIO())
    with Progress(Tally(2, 1, objective), console) as display:
        display.change(make_record(0, State.RUNNING, [0.3]))
        display.change(make_record(0, State.COMPLETE, [0.3, 0.4]))
        display.say("[bold]as it is[/bold]")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())  # type: ignore[attr-defined]
    assert text.count("trial    0  COMPLETE     2/9 epochs") == 1
    assert "[bold]as it is[/bold]" in text
    assert "1/2 trials (1 COMPLETE), 2 epochs, best val_iou 0.4000 (trial 0)" in text


def test_records_may_come_in_while_the_panel_is_drawn(make_record: Any, objective: Objective) -> None:
    tally = Tally(9, 1, objective, [make_record(0, State.RUNNING)])
    for record in tally.running:
        tally.update(make_record(record.trial + 1, State.RUNNING))
    assert [record.trial for record in tally.running] == [0, 1]


# Long studies


def test_a_tally_kept_up_is_one_counted_anew(make_record: Any, objective: Objective) -> None:
    """Trials that begin, get on, go back to a checkpoint, pause and end, in a random order."""
    chance = random.Random(1)
    curves = [[round(chance.random(), 3) for _ in range(5)] for _ in range(40)]
    kept, records = Tally(40, 4, objective), {}
    for _ in range(2000):
        trial = chance.randrange(40)
        values = curves[trial][: chance.randrange(6)]
        records[trial] = make_record(trial, chance.choice([*State]), values)
        if records[trial].state is State.RUNNING and chance.random() < 0.3:
            records[trial].extra["paused_at"] = 1
        kept.update(records[trial])
        anew = Tally(40, 4, objective, records.values())
        assert +kept.states == +anew.states
        assert (kept.ended, kept.epochs, kept.running) == (anew.ended, anew.epochs, anew.running)
        assert (kept.best and kept.best.trial) == (anew.best and anew.best.trial)


def test_the_best_that_goes_back_to_its_checkpoint_is_the_best_no_more(make_record: Any, objective: Objective) -> None:
    tally = Tally(3, 2, objective, [make_record(0, State.RUNNING, [0.1, 0.9]), make_record(1, State.RUNNING, [0.5])])
    tally.update(make_record(0, State.RUNNING, [0.1]))
    assert tally.best is not None and tally.best.trial == 1


def test_paused_trials_are_counted_apart_and_not_shown_as_running(make_record: Any, objective: Objective) -> None:
    paused = make_record(1, State.RUNNING, [0.2])
    paused.extra["paused_at"] = 1
    tally = Tally(9, 1, objective, [make_record(0, State.RUNNING, [0.1]), paused])
    assert tally.summary().startswith("0/9 trials (1 RUNNING, 1 paused), 2 epochs, best val_iou 0.2000 (trial 1)")
    assert [record.trial for record in tally.running] == [0]


def test_a_breakpoint_takes_the_panel_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its prompt would not be seen beside it. A hook of another debugger is called, and is there again afterwards."""
    stopped: list[bool] = []
    monkeypatch.setattr(sys, "breakpointhook", hook := lambda: stopped.append(console.is_alt_screen))
    console = Console(file=io.StringIO(), force_terminal=True)
    with Progress(Tally(2, 1, Objective("val_iou", "max")), console) as progress:
        assert sys.breakpointhook is not hook and progress._live
        breakpoint()
        assert stopped == [False] and progress._live is None and sys.breakpointhook is hook
    assert sys.breakpointhook is hook
