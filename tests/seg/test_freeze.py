"""An encoder that is frozen for a number of epochs, then fine-tuned."""

from pathlib import Path
from typing import Any

import pytest
import torch
from run_state import row, same, weights

from seg import checkpoint, loop
from seg.device.features import FeatureStore
from seg.loop import Data

CPU = torch.device("cpu")


def encoder_of(run: loop.Run) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in run.model.encoder.state_dict().items()}


def test_it_is_frozen_for_so_many_epochs(tiny: Data, make_experiment: Any) -> None:
    """Weights and BatchNorm statistics; of all trainable parameters, the record counts these too."""
    run = loop.start(make_experiment(encoder_frozen_epochs=2, epochs=3), tiny, CPU)
    assert run.params == (1_594_314 + 2_223_872, 0)
    before, results = encoder_of(run), loop.epochs(run)
    for _ in range(2):
        rates = next(results).rates
        assert same(encoder_of(run), before) and set(rates) == {"encoder", "decoder"}
    assert all(p.grad is None for p in run.model.encoder.parameters())
    next(results)
    assert not any(torch.equal(value, before[name]) for name, value in encoder_of(run).items() if value.ndim == 4)
    assert all(p.grad is not None for p in run.model.encoder.parameters())
    assert not torch.equal(run.model.encoder.state_dict()["0.1.running_mean"], before["0.1.running_mean"])


def test_until_then_it_is_the_run_that_stays_frozen(tiny: Data, make_experiment: Any) -> None:
    common = {"epochs": 3, "schedule": "constant"}
    frozen = loop.start(make_experiment(encoder_freeze=True, encoder_lr=None, **common), tiny, CPU)
    phased = loop.start(make_experiment(encoder_frozen_epochs=2, **common), tiny, CPU)
    one, other = ([row(result) for result in loop.epochs(run)] for run in (frozen, phased))
    for each in (*one, *other):
        del each["encoder_lr"]
    assert one[:2] == other[:2] and one[2] != other[2]


def test_all_epochs_frozen_is_frozen(tiny: Data, make_experiment: Any) -> None:
    run = loop.start(make_experiment(encoder_frozen_epochs=9, epochs=1), tiny, CPU)
    before = encoder_of(run)
    list(loop.epochs(run))
    assert same(encoder_of(run), before)


@pytest.mark.parametrize("stopped_after", [1, 2, 3])
def test_interrupted_in_either_phase_it_goes_on(
    tiny: Data, make_experiment: Any, tmp_path: Path, stopped_after: int
) -> None:
    """To the bit, and with features that are kept as without."""
    chosen = make_experiment(encoder_frozen_epochs=2, epochs=4, augment="flips")
    whole = loop.start(chosen, tiny, CPU)
    rows = [row(result) for result in loop.epochs(whole)]
    keeping = Data(tiny.train, tiny.val, tiny.class_names, tiny.class_pixels_NC, "k", FeatureStore(1e9, CPU, tmp_path))
    first = loop.start(chosen, keeping, CPU)
    results = loop.epochs(first)
    found = [row(next(results)) for _ in range(stopped_after)]
    second = loop.start(chosen, keeping, CPU)
    checkpoint.restore(second, checkpoint.snapshot(first).to_bytes())
    found += [row(result) for result in loop.epochs(second)]
    assert found == rows and same(weights(second), weights(whole))


@pytest.mark.parametrize(("epochs", "said"), [(-1, "at least 0"), (1.0, "whole number"), (True, "whole number")])
def test_only_whole_numbers_of_epochs(make_experiment: Any, epochs: Any, said: str) -> None:
    with pytest.raises(ValueError, match=f"^encoder_frozen_epochs: .*{said}"):
        make_experiment(encoder_frozen_epochs=epochs)


def test_not_beside_an_encoder_that_is_always_frozen(make_experiment: Any) -> None:
    with pytest.raises(ValueError, match=r"^encoder_frozen_epochs: 2 is given, but encoder_freeze is true; leave it"):
        make_experiment(encoder_freeze=True, encoder_lr=None, encoder_frozen_epochs=2)
