"""Whether bfloat16 pays here: a step of training in float32 over the same step in bfloat16, of each architecture.

    python tests/benchmarks/bench_precision.py [MODEL ...] [--steps N] [--batch-size N] [--image-size PX]

Forward, loss, backward and optimiser on one batch already on the device; the two in turn, medians. `precision: auto`
takes bfloat16 wherever the device has instructions for it.
"""

import argparse
import statistics
import time
from dataclasses import dataclass, field

import figures
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seg import models, optim
from seg.device import memory, precision

WARM_UPS = 2


@dataclass
class Side:
    """One precision's model, its optimiser and the seconds of its steps."""

    precision: str
    model: nn.Module
    optimizer: torch.optim.Optimizer
    seconds: list[float] = field(default_factory=list)

    def step(self, images: Tensor, target: Tensor) -> None:
        began = time.perf_counter()
        self.optimizer.zero_grad(set_to_none=True)
        with precision.autocast(self.precision, images.device):
            logits = self.model(images)
        loss = F.binary_cross_entropy_with_logits(logits.float(), target)
        loss.backward()
        self.optimizer.step()
        loss.item()  # a GPU has done it then
        self.seconds.append(time.perf_counter() - began)


def side(name: str, chosen: str, frozen: bool, device: torch.device) -> Side:
    model = models.build(name, 2)
    if chosen == "bf16":
        precision.prepare(model, device)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if frozen:
        optim.freeze_encoder(model)
    optim.train_mode(model, frozen)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return Side(chosen, model, torch.optim.Adam(trained, lr=1e-4, fused=True))


def measure(name: str, frozen: bool, given: argparse.Namespace) -> dict[str, float]:
    device = figures.device()
    images = torch.randn(given.batch_size, 3, given.image_size, given.image_size, device=device)
    images = images.to(memory_format=torch.channels_last)
    target = (torch.rand(given.batch_size, 1, given.image_size, given.image_size, device=device) > 0.5).float()
    sides = [side(name, chosen, frozen, device) for chosen in ("fp32", "bf16")]
    for _ in range(WARM_UPS + given.steps):
        for one in sides:
            one.step(images, target)
    full, half = (statistics.median(one.seconds[WARM_UPS:]) for one in sides)
    return {"value": full / half, "fp32_seconds": full, "bf16_seconds": half}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="default: all of our own")
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--image-size", type=int, default=128)
    given = parser.parse_args()
    memory.keep_freed_memory()  # as in a study's workers
    for name in given.models or list(models.MODELS):
        for frozen in (False, True) if name != "unet" else (False,):
            how = "frozen" if frozen else "fine-tuned"
            figures.save({f"a step in fp32 over bf16, {name}, {how}": measure(name, frozen, given)})


if __name__ == "__main__":
    main()
