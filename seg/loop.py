"""The training loop: a generator of epoch results that runs in a plain Python shell, under DDP where ranks are given.

run = start(experiment, data, device)
for result in epochs(run): ...
"""

import dataclasses
import hashlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from seg import allocator, augment, batches, losses, metrics, models, optim, oversample, pixels, precision
from seg.augmentations import AUGMENTATIONS
from seg.averaging import Average
from seg.batches import normalise
from seg.evaluate import Evaluation, evaluate, predict_classes
from seg.experiment import Experiment
from seg.features import FeatureStore, Frozen, Slots, name_of
from seg.metrics import Counts
from seg.models.segmenter import Segmenter
from seg.pack import Pack
from seg.pixels import Pixels
from seg.ranks import Ranks
from seg.schedules import SCHEDULES


class Diverged(Exception):
    """A loss stopped being a number."""


@dataclass(frozen=True)
class Data:
    train: Pixels
    val: Pixels
    class_names: tuple[str, ...]
    class_pixels_NC: Tensor
    """(N, classes) int64, on the CPU: pixels of each class in each training image."""
    key: str = ""
    """Of the pack."""
    features: FeatureStore | None = None
    """Where features of frozen encoders are kept; None: nowhere."""

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def class_frequencies(self) -> Tensor:
        """(classes,) float32: share of each class in the training pixels."""
        pixels = self.class_pixels_NC.sum(0)
        return pixels / pixels.sum().clamp(min=1)


def load(pack: Pack, device: torch.device, feature_bytes: float = 0, room_bytes: float | None = None) -> Data:
    """Of what frozen encoders make of the images, `feature_bytes` are kept at most, see seg.features. The two splits
    get `room_bytes` on the device, None: as many as pixels.room says; one that does not fit is streamed to it."""
    room = pixels.room(device) if room_bytes is None else room_bytes
    train = pixels.load(pack, "train", device, room)
    val = pixels.load(pack, "val", device, room if train.streamed else room - pixels.size(pack, "train"))
    classes = torch.from_numpy(pack.class_pixels_NC[pack.indices("train")])
    store = FeatureStore(feature_bytes, device) if feature_bytes else None
    return Data(train, val, tuple(pack.class_names), classes, pack.key, store)


@dataclass
class Run:
    """An experiment under way. `epoch` counts the finished ones."""

    experiment: Experiment
    """With the precision that `auto` means here."""
    data: Data
    device: torch.device
    ranks: Ranks
    model: Segmenter
    wrapped: nn.Module
    """The model as training calls it: DDP around it where there are several ranks."""
    optimizer: torch.optim.Optimizer
    loss: Callable[[Tensor, Tensor], Tensor]
    """Of logits (N, K, H, W) and target (N, H, W)."""
    weights_N: Tensor
    """Sampling weight of each training image, mean 1; on the CPU."""
    microbatches: int
    """Parts of each rank's batch, computed one after the other for one optimiser step: less memory, more time."""
    on_step: Callable[[], None]
    """Called after every optimiser step and every batch of an evaluation, on the host."""
    epoch: int = 0
    thawing: list[nn.Parameter] = field(default_factory=list)
    """Of the encoder, those that are frozen for a number of epochs only."""
    average: Average | None = None
    """Of the weights so far, if the experiment keeps their average."""

    @property
    def kept(self) -> Segmenter:
        """The model that is validated and kept."""
        return self.average.model if self.average else self.model

    @cached_property
    def encoders(self) -> tuple[Frozen, Frozen] | None:
        """A frozen encoder at work on the training and on the validation images; None where it is not frozen."""
        if not (self.experiment.frozen_in(self.epoch + 1) and self.model.separable):
            return None
        chosen = self.experiment
        on = chosen.model, chosen.normalize, chosen.precision, self.encoder_digest, self.data.key, self.device.type

        # A trial that ran out of a GPU's memory has none to spare.
        spare = self.device.type == "cpu" or self.microbatches == 1

        def at_work(split: str, slots: Slots) -> Frozen:
            return Frozen(self.model, self.data.features if spare else None, name_of(*on, split, slots), slots)

        augmentation = AUGMENTATIONS[self.experiment.augment]
        return at_work("train", Slots(len(self.data.train), augmentation)), at_work("val", Slots(len(self.data.val)))

    @property
    def params(self) -> tuple[int, int]:
        """Trainable and frozen parameters; those that are frozen for a number of epochs only are trainable."""
        learning = [p for p in self.model.parameters() if p.requires_grad] + self.thawing
        trainable = sum(p.numel() for p in learning)
        return trainable, sum(p.numel() for p in self.model.parameters()) - trainable

    @cached_property
    def frozen(self) -> dict[str, Tensor]:
        """What of the model's state stays as it was at the start to the end, by name, and can be had again: of a frozen
        encoder whose weights came from a file."""
        named = self.experiment.encoder_weights != "none"  # random ones may be others on another machine
        return self._encoder_state() if self.experiment.encoder_freeze and named else {}

    def _encoder_state(self) -> dict[str, Tensor]:
        encoder = {id(tensor) for tensor in self.model.encoder.state_dict(keep_vars=True).values()}
        state = self.model.state_dict(keep_vars=True)
        return {name: tensor.detach() for name, tensor in state.items() if id(tensor) in encoder}

    @cached_property
    def encoder_digest(self) -> str:
        """SHA-256 of a frozen encoder's tensors, in the order of their names, hexadecimal."""
        digest = hashlib.sha256()
        for _, tensor in sorted(self._encoder_state().items()):
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class EpochResult:
    epoch: int
    train_loss: float
    train_scores: dict[str, float]
    """See metrics.scores. On the augmented images, while the weights were still changing."""
    validation: Evaluation
    seconds: float
    """Training and validation."""
    images_per_second: float
    """Training images over the seconds of training alone."""
    rates: dict[str, float]
    """Learning rate of each parameter group in the epoch's last step."""

    @property
    def row(self) -> dict[str, float | int | None]:
        """Flat, as records keep it."""
        scores = metrics.scores(self.validation.counts)
        return {
            "epoch": self.epoch,
            "train_loss": self.train_loss,
            "train_iou": self.train_scores["iou"],
            **{f"train_{name}": self.train_scores[name] for name in ("dice", "pixel_accuracy")},
            "val_loss": self.validation.loss,
            **{f"val_{name}": value for name, value in scores.items()},
            "seconds": self.seconds,
            "images_per_second": self.images_per_second,
            "encoder_lr": self.rates.get("encoder"),
            "decoder_lr": self.rates["decoder"],
        }


def start(
    experiment: Experiment,
    data: Data,
    device: torch.device,
    weights_dir: Path | None = None,
    ranks: Ranks | None = None,
    microbatches: int = 1,
    on_step: Callable[[], None] = lambda: None,
) -> Run:
    """A run at epoch 0. Weights are random where `weights_dir` is None or the experiment says so, else ImageNet's.
    Where it runs on a CPU, the process keeps its freed memory from then on (see seg.allocator).

    With `microbatches`, gradients are accumulated over that many parts of each batch, fewer where it has fewer images.
    Parts are to one rank what ranks are to a step: each has BatchNorm statistics and a loss of its own, weighted by
    its number of images.
    """
    if device.type == "cpu":
        allocator.keep_freed_memory()
        allocator.give_back()
    if data.features and (microbatches > 1 or not experiment.frozen_in(1)):
        data.features.forget()
    ranks = ranks or Ranks.current()
    of_first = ranks.all(precision.resolve(experiment.precision, device))[0]  # nodes may differ
    experiment = dataclasses.replace(experiment, precision=of_first)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(batches.seed_of(experiment.seed, "model"))
        pretrained = experiment.encoder_weights == "imagenet"
        model = models.build(experiment.model, data.classes, weights_dir if pretrained else None)
    if ranks.world > 1 and device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(model)  # in place: the model itself is no BatchNorm
    precision.prepare(model, device)
    model.to(device).to(memory_format=torch.channels_last)
    learning = [] if experiment.encoder_freeze else [p for p in model.encoder.parameters() if p.requires_grad]
    if experiment.frozen_in(1):
        optim.freeze_encoder(model)
    optimizer = optim.build(model, experiment)
    wrapped = ranks.wrap(model, device)
    loss = losses.bind(experiment.loss, experiment.loss_parameters, data.class_frequencies.to(device))
    weights = oversample.weights(data.class_pixels_NC, experiment.oversample)
    run = Run(experiment, data, device, ranks, model, wrapped, optimizer, loss, weights, microbatches, on_step)
    run.thawing = learning if experiment.frozen_in(1) else []
    run.average = Average(model) if experiment.keep == "average" else None
    return run


def epochs(run: Run) -> Iterator[EpochResult]:
    """Train from the epoch where `run` stands to the experiment's last. Diverged where the loss is no number."""
    while run.epoch < run.experiment.epochs:
        yield _epoch(run)


def _epoch(run: Run) -> EpochResult:
    began = time.perf_counter()
    epoch = run.epoch + 1
    if run.thawing and not run.experiment.frozen_in(epoch):
        _thaw(run)
    with torch.random.fork_rng(devices=[run.device] if run.device.type == "cuda" else []):
        # Dropout draws from the global generator: seeded by the epoch, a resumed run draws the same.
        torch.manual_seed(batches.seed_of(run.experiment.seed, "dropout", epoch, run.ranks.rank))
        loss, counts = _train(run, epoch)
    trained = time.perf_counter()
    _check_finite("training", loss, epoch)
    run.ranks.share_buffers(run.model)
    if run.average:
        run.ranks.share_buffers(run.average.model)
    validation = evaluate(
        run.kept,
        run.data.val,
        run.experiment,
        run.data.classes,
        run.ranks,
        run.device,
        run.loss,
        run.microbatches,
        run.on_step,
        run.encoders and run.encoders[1],
    )
    _check_finite("validation", validation.loss, epoch)
    run.epoch = epoch
    return EpochResult(
        epoch=epoch,
        train_loss=loss,
        train_scores=metrics.scores(counts),
        validation=validation,
        seconds=time.perf_counter() - began,
        images_per_second=len(counts.hard) / (trained - began),
        rates=optim.rates(run.optimizer),
    )


def _thaw(run: Run) -> None:
    """From now on the encoder is fine-tuned."""
    for parameter in run.thawing:
        parameter.requires_grad_(True)
    run.thawing, run.encoders = [], None
    if run.data.features:
        run.data.features.forget()
    del run.wrapped  # DDP looks once at which parameters have gradients, and lets go of them with its end
    run.wrapped = run.ranks.wrap(run.model, run.device)


def _check_finite(kind: str, loss: float, epoch: int) -> None:
    """Of validation too: weights that the epoch's last step broke show there first, and their masks have an IoU."""
    if not math.isfinite(loss):
        raise Diverged(f"{kind} loss is {loss} in epoch {epoch}; lower the learning rates")


def _train(run: Run, epoch: int) -> tuple[float, Counts]:
    """One pass over the training images: mean loss, and the counts of each image seen."""
    experiment, data = run.experiment, run.data
    place = run.ranks.rank, run.ranks.world
    plan = batches.plan_epoch(run.weights_N, experiment.batch_size, experiment.seed, epoch, *place, run.device)
    optim.train_mode(run.model, experiment.frozen_in(epoch))
    loss_sum = torch.zeros((), dtype=torch.float64, device=run.device)
    hard = torch.zeros(len(data.train), data.classes, 4, dtype=torch.int64, device=run.device)
    total_steps = plan.steps * experiment.epochs
    for step, (images, masks) in enumerate(data.train.in_turn(plan.indices())):
        done = (epoch - 1) * plan.steps + step
        optim.set_rates(run.optimizer, SCHEDULES[experiment.schedule](done, total_steps))
        batch = plan.batch(step)
        slots = plan.slots(step, run.encoders[0].slots) if run.encoders else None
        loss, hard[batch.positions] = _step(run, batch, images, masks, slots)
        loss_sum += loss * len(batch.indices)
        run.on_step()
    run.ranks.sum(loss_sum)
    run.ranks.sum(hard)
    hard = hard[: plan.seen].cpu()
    return float(loss_sum) / plan.seen, Counts(hard, hard.new_zeros(*hard.shape[:2], 3).double())


def _step(
    run: Run, batch: batches.Batch, images: Tensor, masks: Tensor, slots: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """One optimiser step: the local mean loss, and the counts of the batch's images. Nothing waits for the device.
    `slots`: where the features of its images are kept."""
    images, masks = augment.apply(AUGMENTATIONS[run.experiment.augment], images, masks, batch.draws_ND)
    # As many on every rank: SyncBatchNorm waits for all of them in each forward pass.
    parts = min(run.microbatches, batch.fewest)
    run.optimizer.zero_grad(set_to_none=True)
    losses, counts = [], []
    kept = slots.tensor_split(parts) if slots is not None else [None] * parts
    pieces = zip(images.tensor_split(parts), masks.tensor_split(parts), kept, strict=True)
    for number, (part, target, slots_of_it) in enumerate(pieces, 1):
        share = len(part) / len(images)
        with run.ranks.gathering(run.wrapped, now=number == parts):
            loss, found = _accumulate(run, part, target.long(), share * batch.share, slots_of_it)
        losses.append(loss * share)
        counts.append(found)
    run.optimizer.step()
    if run.average:
        run.average.update()
    return torch.stack(losses).sum(), torch.cat(counts)


def _accumulate(run: Run, images: Tensor, target: Tensor, weight: float, slots: Tensor | None) -> tuple[Tensor, Tensor]:
    """Forward and backward: gradients of the mean loss times `weight` are added up; the loss and the counts."""
    images = normalise(images, run.experiment.normalize)
    with precision.autocast(run.experiment.precision, run.device):
        features = [run.encoders[0](images, slots)] if run.encoders and slots is not None else []
        logits = run.wrapped(images, *features)
    logits = logits.float()
    loss = run.loss(logits, target)
    (loss * weight).backward()
    with torch.no_grad():
        counts = metrics.count(predict_classes(logits), target, run.data.classes)
    return loss.detach(), counts
