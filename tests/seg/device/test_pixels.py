import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from seg import loop
from seg.device import pixels
from seg.device.pixels import Pixels
from seg.loop import Data

CPU, GPU = torch.device("cpu"), torch.device("cuda")
gpu_only = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
TURNS = [torch.tensor([3, 0]), torch.tensor([1]), torch.tensor([2, 2, 5]), torch.tensor([4, 0]), torch.tensor([7])]


@pytest.fixture
def streamed(tiny: Data) -> Data:
    """As if the device had no room for the pixels."""
    return replace(tiny, train=replace(tiny.train, streamed=True), val=replace(tiny.val, streamed=True))


def test_images_are_the_packs_in_channels_last(tiny: Data) -> None:
    images, masks = tiny.train.take(torch.tensor([3, 0]))
    row = tiny.train.rows[3]
    assert images.shape == (2, 3, 64, 64) and masks.shape == (2, 64, 64)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images[0], tiny.train.images_MHW3[row].permute(2, 0, 1))


def test_streamed_batches_are_the_resident_ones(tiny: Data, streamed: Data) -> None:
    """All kept until the end: what comes later overwrites nothing."""
    found, wanted = list(streamed.train.in_turn(TURNS)), list(tiny.train.in_turn(TURNS))
    assert len(found) == len(wanted) == len(TURNS)
    for (images, masks), (same_images, same_masks) in zip(found, wanted, strict=True):
        assert torch.equal(images, same_images) and torch.equal(masks, same_masks)
        assert images.stride() == same_images.stride()


def test_a_streamed_trial_is_the_resident_one_to_the_bit(tiny: Data, streamed: Data, make_experiment: Any) -> None:
    def rows(data: Data) -> Iterator[dict[str, Any]]:
        for result in loop.epochs(loop.start(make_experiment(epochs=2, augment="flips"), data, CPU)):
            yield {name: value for name, value in result.row.items() if "second" not in name}

    assert list(rows(streamed)) == list(rows(tiny))


def test_nothing_to_send(tiny: Data, streamed: Data) -> None:
    assert list(streamed.train.in_turn([])) == list(tiny.train.in_turn([])) == []


def test_whoever_stops_asking_leaves_no_thread(streamed: Data) -> None:
    turns = streamed.train.in_turn(TURNS)
    next(turns)
    assert "pixels" in " ".join(thread.name for thread in threading.enumerate())
    turns.close()
    assert "pixels" not in " ".join(thread.name for thread in threading.enumerate())


def test_what_goes_wrong_while_sending_is_the_callers(streamed: Data) -> None:
    with pytest.raises(IndexError):
        list(streamed.train.in_turn([torch.tensor([0]), torch.tensor([10**6])]))


def test_sizes_in_bytes(tiny_pack: Any) -> None:
    train = len(tiny_pack.indices("train"))
    assert pixels.size(tiny_pack, "train") == train * 64 * 64 * 4


@gpu_only
def test_on_a_gpu_what_does_not_fit_is_streamed(tiny_pack: Any) -> None:
    here, there = (pixels.load(tiny_pack, "train", GPU, room) for room in (0, None))
    assert here.streamed and not there.streamed and list(here.in_turn([])) == []
    with torch.inference_mode():
        for found, wanted in zip(here.in_turn(TURNS), there.in_turn(TURNS), strict=True):
            for one, other in zip(found, wanted, strict=True):
                assert one.device.type == "cuda" and torch.equal(one, other)


@gpu_only
def test_on_a_busy_gpu_no_batch_is_overwritten(tiny_pack: Any) -> None:
    """Computing lags far behind sending; each batch is let go of as soon as its sum is asked for."""
    here = pixels.load(tiny_pack, "train", GPU, room_bytes=0)
    everything = torch.arange(len(here))
    turns = [everything.roll(turn).repeat(20)[: 64 + turn] for turn in range(40)]
    sums = []
    for images, masks in here.in_turn(turns):
        torch.cuda._sleep(5_000_000)
        sums.append(images.sum() + masks.sum())
    rows = [here.rows[turn] for turn in turns]
    assert [int(found) for found in sums] == [int(here.images_MHW3[r].sum() + here.masks_MHW[r].sum()) for r in rows]


@gpu_only
def test_room_is_shared_by_both_splits(tiny_pack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "room", lambda device: pixels.size(tiny_pack, "train") + 1)
    loaded = loop.load(tiny_pack, GPU)
    assert loaded.val.streamed and not loaded.train.streamed


def test_a_cpu_maps_the_pack(tiny_pack: Any) -> None:
    mapped: Pixels = pixels.load(tiny_pack, "train", CPU, room_bytes=0)
    assert not mapped.streamed and mapped.images_MHW3.shape[0] == len(tiny_pack.ids)
