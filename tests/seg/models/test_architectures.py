"""One contract, every architecture: freezing, two learning rates, sizes, gradients and state mean the same for each."""

from typing import Any

import pytest
import torch

from seg import batches, loop, optim
from seg.experiment import Experiment
from seg.loop import Data, Run
from seg.models import MODELS, build, family
from seg.models.segmenter import SingleBatchNorm2d

CPU = torch.device("cpu")
NAMES = [
    *MODELS,
    "smp:Unet:mobilenet_v2",
    "smp:DeepLabV3Plus:resnet18",
    "smp:UPerNet:resnet18",
    "smp:PSPNet:efficientnet-b0",
]


@pytest.fixture(params=NAMES)
def name(request: Any) -> str:
    return request.param


def steps(run: Run, count: int = 2) -> None:
    """A few optimiser steps on two images each."""
    optim.train_mode(run.model, run.experiment.encoder_freeze)
    torch.manual_seed(0)  # in 0.4 % of all draws, dropout leaves nothing of the last block of mobilenetv2_skip
    for step in range(count):
        images, masks = run.data.train.take(torch.tensor([2 * step, 2 * step + 1]))
        loss = run.loss(run.model(batches.normalise(images, "unit")), masks.long())
        run.optimizer.zero_grad()
        loss.backward()
        run.optimizer.step()


def start(tiny: Data, make_experiment: Any, name: str, **changes: Any) -> Run:
    experiment: Experiment = make_experiment(model=name, decoder_lr=1e-2, **{"encoder_lr": 1e-2} | changes)
    return loop.start(experiment, tiny, CPU)


def state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


def changed(before: dict[str, torch.Tensor], module: torch.nn.Module) -> list[str]:
    return [key for key, value in module.state_dict().items() if not torch.equal(value, before[key])]


def test_a_frozen_encoder_stays_as_it_is_and_the_decoder_learns(tiny: Data, make_experiment: Any, name: str) -> None:
    run = start(tiny, make_experiment, name, encoder_freeze=True, encoder_lr=None)
    encoder, decoder = state(run.model.encoder), state(run.model.decoder)
    steps(run)
    assert changed(encoder, run.model.encoder) == []
    assert changed(decoder, run.model.decoder)
    assert [group["name"] for group in run.optimizer.param_groups] == ["decoder"]


def test_features_and_decoding_are_the_model(tiny: Data, make_experiment: Any, name: str) -> None:
    run = start(tiny, make_experiment, name)
    model, images = run.model.eval(), batches.normalise(tiny.val.take(torch.arange(2))[0], "unit")
    with torch.no_grad():
        features = model.features(images)
        assert torch.equal(model(images, features), model(images)) and model.separable
        assert all(feature is not images for feature in features)
        shallow = model.shallow(images)
        assert all(map(torch.equal, shallow, features[len(features) - len(shallow) :]))
        model.encoder.register_forward_pre_hook(lambda *_: pytest.fail("the encoder was asked"))
        model(images, features)


def test_of_a_model_that_cannot_be_taken_apart_no_features_are_kept(tiny: Data, make_experiment: Any) -> None:
    run = start(tiny, make_experiment, "smp:DPT:tu-vit_tiny_patch16_224", encoder_freeze=True, encoder_lr=None)
    assert not run.model.separable and run.encoders is None


def test_encoder_and_decoder_move_each_at_its_own_rate(tiny: Data, make_experiment: Any, name: str) -> None:
    """Adam's first step is as long as the rate, whatever the gradient."""
    run = start(tiny, make_experiment, name, encoder_lr=1e-3, optimizer="adam")
    moved = {group["name"]: [p.detach().clone() for p in group["params"]] for group in run.optimizer.param_groups}
    steps(run, 1)
    for group in run.optimizer.param_groups:
        longest = max(
            float((p.detach() - q).abs().max()) for p, q in zip(group["params"], moved[group["name"]], strict=True)
        )
        assert longest == pytest.approx(group["lr"], rel=0.02)


def test_every_parameter_has_one_group_and_gets_a_gradient(tiny: Data, make_experiment: Any, name: str) -> None:
    """DDP waits for ever for a parameter that the loss does not reach."""
    run = start(tiny, make_experiment, name)
    grouped = [id(p) for group in run.optimizer.param_groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in run.model.parameters())
    steps(run, 1)
    assert [key for key, p in run.model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_only_what_the_loss_does_not_reach_is_out_of_training(name: str) -> None:
    """PSPNet uses the first half of its encoder alone, and nothing but a classifier uses EfficientNet's last one."""
    model = build(name, 3)
    waiting = [key for key, p in model.named_parameters() if not p.requires_grad]
    model.requires_grad_(True)
    model.eval()(torch.rand(1, 3, 64, 64)).sum().backward()
    assert [key for key, p in model.named_parameters() if p.grad is None] == waiting
    assert bool(waiting) == (name == "smp:PSPNet:efficientnet-b0")


@pytest.mark.parametrize("channels_last", [False, True])
def test_logits_have_the_images_size(name: str, channels_last: bool) -> None:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    multiple = family(name).multiple
    images = torch.rand(2, 3, 64, 64 + multiple).to(memory_format=layout)
    for classes, channels in ((2, 1), (5, 5)):
        model = build(name, classes).to(memory_format=layout).eval()
        with torch.inference_mode():
            assert model(images).shape == (2, channels, 64, 64 + multiple)


def test_a_batch_of_one_image_trains(name: str) -> None:
    """What an epoch leaves over; BatchNorm after global pooling has nothing to normalise by then."""
    model = build(name, 3).train()
    model(torch.rand(1, 3, 64, 64)).mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_the_same_seed_builds_the_same_model_and_its_state_goes_round(name: str) -> None:
    models = []
    for _ in range(2):
        torch.manual_seed(3)
        models.append(build(name, 2))
    one, other = (model.state_dict() for model in models)
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    build(name, 2).load_state_dict(one, strict=True)


def test_a_single_value_is_normalised_by_the_running_statistics() -> None:
    norm = SingleBatchNorm2d(2).train()
    norm.running_mean.copy_(torch.tensor([1.0, 2.0]))
    value = torch.tensor([[[[3.0]], [[6.0]]]])
    assert torch.allclose(norm(value).flatten(), torch.tensor([2.0, 4.0]), atol=1e-4)
    assert norm.running_mean.tolist() == [1.0, 2.0] and norm.num_batches_tracked == 0


def test_more_values_are_normalised_as_ever() -> None:
    norm, plain = SingleBatchNorm2d(2).train(), torch.nn.BatchNorm2d(2).train()
    values = torch.rand(3, 2, 1, 1)
    assert torch.equal(norm(values), plain(values))
    assert torch.equal(norm.running_var, plain.running_var)
