"""Promoting ASHA on real lanes: trials pause, and go on on whichever lane is free, to the bit as if left alone."""

import signal
from pathlib import Path
from typing import Any

import pytest
from chaos import check_whole, compare
from test_study_e2e import NEVER_STOPPED, SMALL, wait_for

from study.store import Store
from study.store.records import Record, State, read_records

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TRIALS, EPOCHS = 24, 4
SAME = (*SMALL, "--trials", TRIALS, "--epochs", EPOCHS, "--lanes", 2, "--set", "sampler=random", "--set", "finalists=1")
QUICK = ("--set", "search.model=[mobilenetv2_skip]")
LEARNING = 6
WORSE_LATER = (
    *("--seed", 6842, "--set", "sampler=random", "--set", "search.encoder_freeze=[true]"),
    *("--set", "search.decoder_lr=[1e-9, 1e-2]"),
    *("--set", "search.loss={dice_bce: {dice_weight: {low: 0.9, high: 1.1}}}"),
)
"""With this seed the first LEARNING of twelve trials learn, and the others, with a rate of 1e-9, do not.

So on any machine the best half of twelve are the first six. The worst of them is among the best half of no fewer: it
pauses at once and goes on last."""
PROMOTING = ("--set", "early_stopping={scheduler: promoting_asha, min_epochs: 1, reduction_factor: 2}")


def lanes_of(record: Record) -> list[str]:
    return [stint["lane"] for stint in record.extra["stints"]]


def is_kept(store: Store, record: Record) -> bool:
    """Whether it is paused, and what it goes on from is in the store."""
    return record.paused_at > 0 and any(name.startswith("checkpoint-") for name in store.names(record.folder))


@pytest.fixture(scope="module")
def paused(shell: Any) -> Path:
    """Rungs at epochs 1 and 2 of 4; random points, so that a study without pauses has the same trials."""
    shell.study(*SAME, *QUICK, *PROMOTING, "--name", "paused")
    return shell.storage / "paused"


@pytest.mark.timeout(900)
def test_a_trial_that_went_on_on_another_lane_is_what_it_would_have_been(shell: Any, paused: Path) -> None:
    """Every number of every epoch, and the counts of every validation image, against the same trials left alone."""
    store = Store(str(paused))
    records = check_whole(store, TRIALS)
    assert {record.state for record in records} == {State.COMPLETE, State.PRUNED}
    assert {len(r.epochs) for r in records if r.state is State.PRUNED} <= {1, 2}
    moved = [record for record in records if len(set(lanes_of(record))) > 1]
    assert moved, [lanes_of(record) for record in records]
    shell.study(*SAME, *QUICK, *NEVER_STOPPED, "--name", "alone")
    assert compare(store, Store(str(shell.storage / "alone"))) == TRIALS


def test_what_goes_on_is_what_the_published_algorithm_says(paused: Path) -> None:
    """Half of those at a rung go on, or more where good ones came late; who went on was among the best at some time."""
    records = read_records(Store(str(paused)))
    reached = [sum(len(record.epochs) >= epochs for record in records) for epochs in (1, 2, 4)]
    assert reached[0] == TRIALS and TRIALS // 2 <= reached[1] < TRIALS and 0 < reached[2] < reached[1]
    first = {record.trial: record.epochs[0]["val_iou"] for record in records}
    best = sorted(first, key=first.__getitem__, reverse=True)[: TRIALS // 2]
    assert all(len(records[trial].epochs) > 1 for trial in best), "the best half of all go on for certain"


def test_a_study_with_paused_trials_is_interrupted_and_goes_on(shell: Any) -> None:
    """They are shown as paused, stay so, and the best of them go on in the next session."""
    arguments = (*SMALL, "--trials", 12, "--epochs", 2, "--lanes", 1, *QUICK, *WORSE_LATER, *PROMOTING)
    store = Store(str(shell.storage / "between"))
    process = shell.start_study(*arguments, "--name", "between")
    wait_for(lambda: len(read_records(store)) > LEARNING, process)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 130, out
    paused = [record for record in read_records(store) if record.paused_at]
    assert f"{len(paused)} paused" in shell.run("study.ls", store.uri)
    # One or the other may have gone on, or ended, before the signal came; the last one's checkpoint was on its way.
    before = {record.trial: record for record in paused if is_kept(store, record)}
    assert before and len(before) >= len(paused) - 1
    shell.study("--resume", "--name", "between", "--no-report")
    records = check_whole(store, 12)
    learning = [record.trial for record in records if record.experiment["decoder_lr"] == 1e-2]
    assert learning == list(range(LEARNING)) and before.keys() & set(learning)
    for trial, was in before.items():
        assert records[trial].epochs[: len(was.epochs)] == was.epochs, "no epoch is trained again"
    assert all(len(records[trial].epochs) > len(was.epochs) for trial, was in before.items() if trial in learning)
