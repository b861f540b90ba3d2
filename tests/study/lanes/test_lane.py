"""A lane and its worker, without Ray between them: what a trial goes through, and what is left of it in the store."""

import math
import threading
import uuid
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from seg import data, pack
from seg.data import Dataset
from seg.experiment import Experiment
from seg.pack import Pack
from seg.ranks import Ranks
from study.lanes import lane
from study.lanes.lane import Lane, LaneReleased, NotStarted
from study.lanes.worker import Worker
from study.lanes.worker_group import LaneError, NoRoom, Standstill
from study.ranking.objective import Objective
from study.store import Store, counts
from study.store.records import State
from study.trials import attempt
from study.trials.messages import EpochDone, LaneSettings

EPOCHS = 3
TIMINGS = {"seconds", "images_per_second"}


@pytest.fixture(scope="module")
def tiny_pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """Two dozen synthetic lesions at 32 pixels."""
    whole = data.load("phantom", Path("nowhere"))
    train = [sample for sample in whole.samples if sample.split == "train"][:24]
    few = Dataset(whole.name, train, whole.class_names, whole.remark, whole.synthetic)
    return pack.build(few, 32, tmp_path_factory.mktemp("packs"), progress=False)


@pytest.fixture
def store() -> Store:
    return Store(f"memory://{uuid.uuid4().hex}")


@pytest.fixture
def settings(tiny_pack: Pack, store: Store) -> LaneSettings:
    objective = Objective("val_iou", "max")
    return LaneSettings(store.uri, str(tiny_pack.folder), None, objective, workers=1, gpus_per_worker=0, threads=1)


class NoPulse:
    def beat(self) -> None:
        pass

    def bounded(self) -> Any:
        return threading.Lock()


class DirectGroup:
    """A worker group of one rank in this process. Each of `faults` befalls it once: raised in place of an answer."""

    faults: list[Exception | None] = []  # noqa: RUF012 # shared by all groups of a test
    made = 0
    name = "study-lane-0"
    node_is_gone = False
    """Where a fault befalls the group."""
    home_ends = False
    takes_commands = True
    notices: list[bool] = []  # noqa: RUF012 # whether its node has been given notice, asked for before each epoch

    def __init__(self, settings: LaneSettings, scratch: str):
        type(self).made += 1
        self._worker = Worker(settings, torch.device("cpu"), Ranks(), NoPulse())  # type: ignore[arg-type]
        self._answers: list[Any] = []

    def post(self, command: Any) -> int:
        self._answers.append(lambda: self._worker.answer(command))
        return len(self._answers) - 1

    def answer(self, index: int, what: str) -> Any:
        if self.faults and (fault := self.faults.pop(0)):
            raise fault
        return self._answers[index]()

    def lost_node(self) -> bool:
        return self.node_is_gone

    def is_drained(self) -> bool:
        return bool(self.notices and self.notices.pop(0))

    def was_ready(self) -> bool:
        return self.takes_commands

    def home_is_drained(self) -> bool:
        return self.home_ends

    def abandon(self) -> None:
        pass

    def stop(self) -> None:
        self._worker.close()


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> type[DirectGroup]:
    monkeypatch.setattr(lane, "new_group", DirectGroup)
    DirectGroup.faults, DirectGroup.made, DirectGroup.node_is_gone, DirectGroup.notices = [], 0, False, []
    DirectGroup.home_ends, DirectGroup.takes_commands = False, True
    return DirectGroup


def experiment(**changes: Any) -> dict[str, Any]:
    choices: dict[str, Any] = {
        "dataset": "phantom",
        "image_size": 32,
        "model": "mobilenetv2_plain",
        "loss": "dice_bce",
        "epochs": EPOCHS,
        "decoder_lr": 1e-3,
        "encoder_lr": 1e-4,
        "encoder_weights": "none",
        "batch_size": 8,
        "augment": "flips_rotate",
    }
    return Experiment(**choices | changes).to_json()


def open_lane(settings: LaneSettings, trial: int = 0, paused_at: int = 0, **changes: Any) -> Lane:
    opened = Lane.__new__(Lane)  # Tune's part of the construction asks for a node
    about = {"trial": trial, "experiment": experiment(**changes), "paused_at": paused_at}
    opened.setup({"settings": settings, "scratch": "", **about})
    return opened


def run(opened: Lane) -> list[dict[str, Any]]:
    """Every result until the trial is done."""
    results = [opened.step()]
    while not results[-1]["done"]:
        results.append(opened.step())
    return results


def rows_of(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The trial's epochs as the recorder has them in the end."""
    rows: list[dict[str, Any]] = []
    for result in results:
        if started := result["report"].started:
            rows = list(started.rows)
        rows += [outcome.row] if isinstance(outcome := result["report"].outcome, EpochDone) else []
    return [{name: value for name, value in row.items() if name not in TIMINGS} for row in rows]


def val_counts(store: Store, results: list[dict[str, Any]], trial: int = 0) -> pd.DataFrame:
    return counts.from_parquet(store.read(f"trials/{trial:05d}/{results[-1]['report'].outcome.files['val_counts']}"))


def test_a_trial_leaves_its_best_epoch_and_its_last_checkpoint(settings: LaneSettings, store: Store) -> None:
    opened = open_lane(settings)
    results = run(opened)
    opened.cleanup()
    assert [row["epoch"] for row in rows_of(results)] == [1, 2, 3]
    files = set(results[-1]["report"].outcome.files.values())
    left = set(store.names("trials/00000"))
    assert files <= left and len(left - files) <= 4, "the checkpoint before the last epoch and what it stands on"
    assert all(f"-{results[-1]['report'].outcome.files['best'].split('-')[1]}-" in name for name in files)


@pytest.mark.parametrize("deaths_after", [0, 1, 2])
def test_a_worker_that_dies_costs_an_epoch_at_most_and_changes_nothing(
    settings: LaneSettings, store: Store, direct: type[DirectGroup], deaths_after: int
) -> None:
    """Bit for bit: every number of every epoch and every count, on a new worker from the checkpoint."""
    whole = run(open_lane(settings, trial=0))
    opened, results = open_lane(settings, trial=1), []
    results += [opened.step() for _ in range(deaths_after)]
    opened._group._worker._writer.flush()  # type: ignore[union-attr]
    direct.faults = [LaneError("a rank was killed")]
    results += run(opened)
    assert rows_of(results) == rows_of(whole)
    pd.testing.assert_frame_equal(val_counts(store, results, 1), val_counts(store, whole, 0))
    assert direct.made == 3


def test_a_trial_goes_on_in_another_process(settings: LaneSettings, store: Store) -> None:
    """With nothing but the store: another lane, another worker, the optimiser's state and the schedule included."""
    whole = run(open_lane(settings, trial=0))
    first = open_lane(settings, trial=1)
    results = [first.step()]
    first.cleanup()
    results += run(open_lane(settings, trial=1))
    assert rows_of(results) == rows_of(whole)
    assert results[1]["report"].started.rows[0]["epoch"] == 1 and results[1]["report"].outcome.row["epoch"] == 2


def test_a_paused_trial_goes_on_on_another_lane_while_the_first_is_still_sending_it(
    settings: LaneSettings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit what it would have been, and no epoch is trained twice: the checkpoint is waited for."""
    whole = run(open_lane(settings, trial=0))
    go, write = threading.Event(), Store.write

    def slow(self: Store, name: str, content: bytes) -> None:
        if "00001/checkpoint-00001" in name:
            assert go.wait(30)
        write(self, name, content)

    monkeypatch.setattr(Store, "write", slow)
    first, second = open_lane(settings, trial=1), open_lane(settings, trial=2)
    results = [first.step()]
    second.step()
    threading.Timer(1.0, go.set).start()
    second.reset_config(second._config | {"trial": 1, "paused_at": 1})
    results += run(second)
    assert rows_of(results) == rows_of(whole) and len(results[1]["report"].started.rows) == 1
    pd.testing.assert_frame_equal(val_counts(store, results, 1), val_counts(store, whole, 0))


def test_a_paused_trial_whose_checkpoint_never_came_goes_on_from_what_is_there(
    settings: LaneSettings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lane died before it had sent it."""
    monkeypatch.setattr(attempt, "LATE_SECONDS", 0.3)
    whole = run(open_lane(settings, trial=0))
    results = run(open_lane(settings, trial=1, paused_at=1))
    assert results[0]["report"].started.rows == [] and rows_of(results) == rows_of(whole)


def test_a_trial_that_kills_its_workers_ends_as_failed(settings: LaneSettings, direct: type[DirectGroup]) -> None:
    opened = open_lane(settings)
    direct.faults = [LaneError("segmentation fault")] * lane.DEATHS
    failure = run(opened)[-1]["report"].outcome
    assert failure.state is State.FAILED and "segmentation fault" in failure.traceback
    assert failure.reason.startswith("the workers died 3 times without finishing an epoch: ")
    opened.reset_config(opened._config | {"trial": 1})
    assert "failure" not in run(opened)[-1], "the lane lives on, with new workers"


def test_deaths_with_progress_in_between_do_not_add_up(settings: LaneSettings, direct: type[DirectGroup]) -> None:
    """On machines that come and go a long trial may lose its workers many times."""
    opened, results = open_lane(settings, epochs=5), []
    for _ in range(5):
        direct.faults = [LaneError("preempted")] * (lane.DEATHS - 1)
        results.append(opened.step())
        opened._group._worker._writer.flush()  # type: ignore[union-attr]
    assert [row["epoch"] for row in rows_of(results)] == [1, 2, 3, 4, 5]


def test_a_standstill_is_a_failure_with_the_place(settings: LaneSettings, direct: type[DirectGroup]) -> None:
    opened = open_lane(settings)
    direct.faults = [None, Standstill(1800.0, "rank 0:\n  File loop.py, line 1")]
    failure = run(opened)[-1]["report"].outcome
    assert failure.state is State.FAILED and failure.reason.startswith("no step for 1800 s")
    assert "File loop.py" in failure.traceback and opened._group is None


def limit_memory(monkeypatch: pytest.MonkeyPatch, images: int) -> list[int]:
    """A device on which training more than so many images at once does not fit; the sizes of the batches that did."""
    forward, fitted = torch.nn.Conv2d.forward, list[int]()

    def limited(self: torch.nn.Conv2d, features_NCHW: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            if len(features_NCHW) > images:
                raise torch.OutOfMemoryError(f"out of memory: {len(features_NCHW)} images")
            fitted.append(len(features_NCHW))
        return forward(self, features_NCHW)

    monkeypatch.setattr(torch.nn.Conv2d, "forward", limited)
    return fitted


def test_out_of_memory_is_tried_once_more_with_half_the_microbatch(
    settings: LaneSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = limit_memory(monkeypatch, 4)
    results = run(open_lane(settings, batch_size=8))
    assert [row["epoch"] for row in rows_of(results)] == [1, 2, 3] and max(fitted) == 4
    assert results[0]["report"].started.microbatches == 2


def test_a_trial_that_goes_on_keeps_its_microbatches(settings: LaneSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine with room for more: with other parts it would not be the same trial."""
    with monkeypatch.context() as small:
        limit_memory(small, 4)
        first = open_lane(settings, batch_size=8)
        first.step()
        first.cleanup()
    fitted = limit_memory(monkeypatch, 99)
    results = run(open_lane(settings, batch_size=8))
    assert results[0]["report"].started.microbatches == 2 and max(fitted) == 4


def test_workers_that_ray_ends_for_lack_of_memory_are_tried_with_less(
    settings: LaneSettings, direct: type[DirectGroup]
) -> None:
    opened = open_lane(settings)
    direct.faults = [LaneError("the lane's workers ended: ray.exceptions.OutOfMemoryError: the node was low on memory")]
    assert run(opened)[0]["report"].started.microbatches == 2


def test_a_store_that_failed_is_no_fault_of_the_next_trial(
    settings: LaneSettings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that has given up writes nothing more: its process ends, and a new one goes on."""

    def gone(self: Store, name: str, content: bytes) -> None:
        raise FileNotFoundError("the bucket is gone")

    opened = open_lane(settings)
    assert opened._group is not None
    with monkeypatch.context() as broken:
        broken.setattr(Store, "write", gone)
        opened.step()
        with pytest.raises(FileNotFoundError):
            opened._group._worker._writer.flush()  # type: ignore[attr-defined]
        with pytest.raises(FileNotFoundError):
            opened.step()


def test_workers_that_went_with_their_node_do_not_count_against_the_trial(
    settings: LaneSettings, direct: type[DirectGroup]
) -> None:
    whole = run(open_lane(settings, trial=0))
    direct.node_is_gone, direct.faults = True, [LaneError("node died")] * (lane.DEATHS + 2)
    assert rows_of(run(open_lane(settings, trial=1))) == rows_of(whole)


def test_workers_that_never_took_a_command_do_not_count_against_the_trial(
    settings: LaneSettings, direct: type[DirectGroup]
) -> None:
    opened = open_lane(settings)
    direct.takes_commands, direct.faults = False, [LaneError("no space left on device")]
    with pytest.raises(NotStarted, match="no space left on device"):
        opened.step()


def test_a_lane_without_room_gives_its_trial_back(settings: LaneSettings, direct: type[DirectGroup]) -> None:
    opened = open_lane(settings)
    direct.faults = [NoRoom("no placement")]
    with pytest.raises(LaneReleased, match="no room for its 1 x 1 CPU"):
        opened.step()
    assert opened._group is None, "the next trial asks for workers anew"


def test_a_lane_leaves_a_node_that_has_been_given_notice(
    settings: LaneSettings, store: Store, direct: type[DirectGroup]
) -> None:
    """Between two epochs: not one is trained twice, and every number is what it would have been."""
    whole = run(open_lane(settings, trial=0))
    direct.made, direct.notices = 0, [False, True]
    results = run(open_lane(settings, trial=1))
    assert direct.made == 2 and rows_of(results) == rows_of(whole)
    assert [len(result["report"].started.rows) for result in results if result["report"].started] == [0, 1]


def test_a_lane_whose_own_node_has_been_given_notice_gives_its_trial_back(
    settings: LaneSettings, store: Store, direct: type[DirectGroup]
) -> None:
    whole = run(open_lane(settings, trial=0))
    opened = open_lane(settings, trial=1)
    first = opened.step()
    direct.home_ends = True
    with pytest.raises(LaneReleased, match="its node is about to end"):
        opened.step()
    direct.home_ends = False
    rest = run(open_lane(settings, trial=1))
    assert rows_of([first, *rest]) == rows_of(whole) and len(rest[0]["report"].started.rows) == 1


def test_out_of_memory_twice_is_infeasible(settings: LaneSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_memory(monkeypatch, 3)
    opened = open_lane(settings, batch_size=8)
    failure = run(opened)[-1]["report"].outcome
    assert failure.state is State.INFEASIBLE and "out of memory: 4 images" in failure.reason
    opened.reset_config(opened._config | {"trial": 1, "experiment": experiment(batch_size=2)})
    assert "failure" not in run(opened)[-1], "the next trial is tried with whole batches again"
    assert opened._microbatches == 1


def test_nan_is_a_failure_and_the_worker_stays(settings: LaneSettings, direct: type[DirectGroup]) -> None:
    opened = open_lane(settings, encoder_lr=1e30, decoder_lr=1e30, optimizer="adam")
    failure = run(opened)[-1]["report"].outcome
    assert failure.state is State.FAILED and "loss is" in failure.reason
    opened.reset_config(opened._config | {"trial": 1, "experiment": experiment()})
    assert len(rows_of(run(opened))) == EPOCHS and direct.made == 1


def test_a_trial_says_for_how_long_its_workers_had_nothing_to_train(settings: LaneSettings) -> None:
    """From the last epoch of the trial before to its own first one."""
    opened = open_lane(settings)
    assert [result["report"].outcome.idle_seconds for result in run(opened)] == [None] * EPOCHS
    opened.reset_config(opened._config | {"trial": 1, "experiment": experiment()})
    first, *others = (result["report"].outcome.idle_seconds for result in run(opened))
    assert 0 < first < 30 and others == [None] * (EPOCHS - 1)


def test_a_torn_checkpoint_is_passed_over(settings: LaneSettings, store: Store) -> None:
    """A failing disk: the one before it will do, and without any the trial starts over."""
    whole = run(open_lane(settings, trial=0))
    first = open_lane(settings, trial=1)
    first.step()
    first.cleanup()
    folder = "trials/00001"
    (name,) = (name for name in store.names(folder) if name.startswith(attempt.CHECKPOINT))
    store.write(f"{folder}/{attempt.CHECKPOINT}00009-ffffff.safetensors", store.read(f"{folder}/{name}")[:100])
    assert attempt.newest_checkpoint(store, folder)[0] == name
    store.write(f"{folder}/{name}", b"torn")
    results = run(open_lane(settings, trial=1))
    assert results[0]["report"].started.rows == [] and rows_of(results) == rows_of(whole)


def test_a_slow_store_does_not_hold_up_training(
    settings: LaneSettings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Epochs go on while the first file is still on its way; the last epoch waits until all of it is there."""
    go, write = threading.Event(), Store.write

    def slow(self: Store, name: str, content: bytes) -> None:
        assert go.wait(30)
        write(self, name, content)

    monkeypatch.setattr(Store, "write", slow)
    opened = open_lane(settings, epochs=4)
    results = [opened.step() for _ in range(3)]
    assert store.names("trials") == []
    go.set()
    results += run(opened)
    assert set(results[-1]["report"].outcome.files.values()) <= set(store.names("trials/00000"))


def test_rows_in_a_checkpoint_are_those_of_its_epoch(
    settings: LaneSettings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written late, while the next epoch has its row already."""
    from seg import checkpoint

    go, to_bytes = threading.Event(), checkpoint.Snapshot.to_bytes

    def late(self: Any, **remarks: Any) -> bytes:
        assert go.wait(30)
        return to_bytes(self, **remarks)

    monkeypatch.setattr(checkpoint.Snapshot, "to_bytes", late)
    opened = open_lane(settings, epochs=4)
    for _ in range(3):
        opened.step()
    go.set()
    opened.cleanup()
    name, content = attempt.newest_checkpoint(store, "trials/00000")
    _, header = checkpoint.read(content)
    assert name is not None and header["epoch"] == len(header["rows"]) == 3
    assert math.isfinite(header["rows"][-1]["val_loss"])
