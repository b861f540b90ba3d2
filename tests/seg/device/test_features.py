"""Kept features are what would be computed anew, to the bit; never more of them than allowed."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from run_state import row, same, weights

from seg import augment, loop
from seg.device import features
from seg.device.features import FeatureStore, Slots
from seg.evaluate import evaluate
from seg.loop import Data
from seg.options import AUGMENTATIONS

CPU = torch.device("cpu")
FROZEN = {"encoder_freeze": True, "encoder_lr": None}
PLENTY = 1e9


def keeping(data: Data, root: Path, limit: float = PLENTY) -> Data:
    return dataclasses.replace(data, key="pack", features=FeatureStore(limit, CPU, root))


def trained(data: Data, experiment: Any, microbatches: int = 1) -> tuple[list[dict[str, Any]], dict[str, torch.Tensor]]:
    run = loop.start(experiment, data, CPU, microbatches=microbatches)
    return [row(result) for result in loop.epochs(run)], weights(run)


def equal(one: Any, other: Any) -> bool:
    return one[0] == other[0] and same(one[1], other[1])


@pytest.mark.parametrize("model", ["mobilenetv2_skip", "mobilenetv2_plain", "smp:Unet:resnet18"])
@pytest.mark.parametrize("augmentation", ["none", "flips", "flips_rotate"])
def test_training_on_kept_features_is_training(
    tiny: Data, make_experiment: Any, tmp_path: Path, model: str, augmentation: str
) -> None:
    """The first run fills them, the second finds all that it needs; every one is the run that keeps none."""
    chosen = make_experiment(model=model, augment=augmentation, epochs=3, **FROZEN)
    expected = trained(tiny, chosen)
    for _ in range(2):
        assert equal(trained(keeping(tiny, tmp_path), chosen), expected)
    assert bool(list(tmp_path.iterdir()))
    assert tmp_path.stat().st_uid == os.getuid()


@pytest.mark.parametrize("changes", [{"oversample": 1.0}, {"batch_size": 5}])
@pytest.mark.parametrize("microbatches", [1, 3])
def test_so_it_is_with(tiny: Data, make_experiment: Any, tmp_path: Path, changes: Any, microbatches: int) -> None:
    chosen = make_experiment(augment="flips", epochs=2, **FROZEN, **changes)
    expected = trained(tiny, chosen, microbatches)
    for _ in range(2):
        assert equal(trained(keeping(tiny, tmp_path), chosen, microbatches), expected)


def test_the_encoder_is_not_asked_for_what_is_kept(
    tiny: Data, make_experiment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    compute = features.compute

    def counted(of: Any, images: torch.Tensor) -> list[torch.Tensor]:
        if of.__name__ == "features":
            asked.append(len(images))
        return compute(of, images)

    monkeypatch.setattr(features, "compute", counted)
    chosen, data = make_experiment(augment="none", epochs=2, **FROZEN), keeping(tiny, tmp_path)
    trained(data, chosen)
    assert sum(asked) == len(tiny.train) + len(tiny.val)
    trained(data, dataclasses.replace(chosen, decoder_lr=1e-4, loss="dice_bce", seed=3))
    assert sum(asked) == 2 * (len(tiny.train) + len(tiny.val)), "another seed is another random encoder"
    asked.clear()
    trained(data, dataclasses.replace(chosen, decoder_lr=1e-4, loss="dice_bce"))
    assert asked == []


def test_an_encoder_that_learns_is_always_asked(tiny: Data, make_experiment: Any, tmp_path: Path) -> None:
    trained(keeping(tiny, tmp_path), make_experiment(augment="none", epochs=1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limit", [1.0, 5e5, 2e6])
def test_never_more_than_the_limit(tiny: Data, make_experiment: Any, tmp_path: Path, limit: float) -> None:
    chosen = make_experiment(augment="flips", epochs=2, **FROZEN)
    expected = trained(tiny, chosen)
    for _ in range(2):
        assert equal(trained(keeping(tiny, tmp_path, limit), chosen), expected)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= limit
    assert bool(list(tmp_path.iterdir())) == (limit > 1)


@pytest.mark.parametrize("limits", [(5e6, 2e7), (2e7, 5e6)])
def test_what_another_limit_has_kept_is_not_mistaken(
    tiny: Data, make_experiment: Any, tmp_path: Path, limits: tuple[float, float]
) -> None:
    """With fewer slots, all but the first array lie elsewhere in the file."""
    chosen = make_experiment(augment="flips", epochs=2, **FROZEN)
    expected = trained(tiny, chosen)
    for limit in limits:
        assert equal(trained(keeping(tiny, tmp_path, limit), chosen), expected)


@pytest.mark.parametrize("problem", ["posix_fallocate", "statvfs"])
def test_without_room_on_the_disk_nothing_is_kept(
    tiny: Data, make_experiment: Any, tmp_path: Path, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, problem, full)
    chosen = make_experiment(augment="flips", epochs=1, **FROZEN)
    assert equal(trained(keeping(tiny, tmp_path), chosen), trained(tiny, chosen))


def test_files_that_nobody_uses_make_room(tmp_path: Path) -> None:
    """A process that was killed has left them."""
    first, second, one = FeatureStore(1e6, CPU, tmp_path), FeatureStore(1e6, CPU, tmp_path), torch.ones(1, 8, 2, 2)
    (tmp_path / "old").write_bytes(b"0" * 900_000)
    assert first.open("a", 5000, [one]) is not None
    (used,) = tmp_path.iterdir()
    assert used.name != "old"
    assert second.open("b", 5000, [one]) is None and list(tmp_path.iterdir()) == [used]
    assert second.open("a", 5000, [one]) is not None
    first.close()
    assert list(tmp_path.iterdir()) == [used], "the second one uses it"
    second.close()
    assert list(tmp_path.iterdir()) == []
    assert second.open("b", 5000, [one]) is not None


def test_what_somebody_else_has_put_there_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, one = FeatureStore(1e6, CPU, tmp_path), torch.ones(1, 8, 2, 2)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert store.open("a", 5000, [one]) is None and list(tmp_path.iterdir()) == []


def test_what_one_process_keeps_another_reads(tmp_path: Path) -> None:
    """Wide and narrow features, and one without any channel."""
    made = [torch.rand(3, 8, 4, 2), torch.rand(3, 5, 1, 1).double(), torch.rand(3, 0, 2, 2)]
    here, there = (FeatureStore(PLENTY, CPU, tmp_path).open("a", 7, made) for _ in range(2))
    assert here is not None and there is not None
    slots = torch.tensor([6, 0, 3])
    assert bool(there.missing(slots).all())
    here.write(slots, made)
    assert there.missing(torch.tensor([6, 1, 3, 7, 100])).tolist() == [False, True, False, True, True]
    found = there.read(slots.flip(0))
    assert all(torch.equal(a.flip(0), b) and a.dtype == b.dtype for a, b in zip(made, found, strict=True))
    assert found[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_slot_stands_for_one_picture(name: str) -> None:
    """Of draws with the same slot, augmentation makes the same image; other slots are other images."""
    augmentation, generator = AUGMENTATIONS[name], torch.Generator().manual_seed(0)
    slots = Slots(2, augmentation)
    if augmentation.rotation_degrees:
        assert slots.count == 0
        return
    images, masks = torch.rand(2, 3, 4, 4, generator=generator), torch.zeros(40, 4, 4, dtype=torch.uint8)
    draws, indices = augment.draw(40, generator), torch.arange(40) % 2
    made, _ = augment.apply(augmentation, images[indices], masks, draws)
    found = slots.of(indices, draws)
    assert sorted(set(found.tolist())) == list(range(slots.count))
    for i in range(40):
        assert [torch.equal(made[i], made[j]) for j in range(40)] == (found == found[i]).tolist()


def test_a_frozen_model_is_scored_alike_everywhere(tiny: Data, make_experiment: Any, tmp_path: Path) -> None:
    """Where its training's features are at hand, and where they are not."""
    run = loop.start(make_experiment(epochs=1, **FROZEN), keeping(tiny, tmp_path), CPU)
    (result,) = loop.epochs(run)
    again = evaluate(run.model, tiny.val, run.experiment, tiny.classes, run.ranks, CPU, run.loss)
    assert again.loss == result.validation.loss
    assert torch.equal(again.counts.soft, result.validation.counts.soft)


def test_features_of_other_encoders_have_other_names(tiny: Data, make_experiment: Any, tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"seed": 1},
        {"normalize": "unit"},
        {"model": "mobilenetv2_plain"},
        {"augment": "none"},
    ]
    names = set()
    for change in changes:
        run = loop.start(make_experiment(**FROZEN, **{"augment": "flips"} | change), keeping(tiny, tmp_path), CPU)
        assert run.encoders is not None
        names |= {encoder.name for encoder in run.encoders}
    assert len(names) == 2 * len(changes) - 1, "validation images are never augmented"
