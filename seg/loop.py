"""The training loop: a generator of epoch results. It runs in a plain Python shell, and under DDP if ranks are given.

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

from seg import augment, batches, losses, metrics, models, optim
from seg.batches import normalise
from seg.device import memory, pixels, precision
from seg.device.features import FeatureStore, Frozen, Slots, name_of
from seg.device.pixels import Pixels
from seg.evaluate import Evaluation, evaluate, predict_classes
from seg.experiment import Experiment
from seg.metrics import Counts
from seg.models.segmenter import Segmenter
from seg.optim import Average
from seg.options import AUGMENTATIONS, SCHEDULES
from seg.pack import Pack
from seg.ranks import Ranks


class Diverged(Exception):
    """The error for a training or validation loss that is not finite."""


@dataclass(frozen=True)
class Data:
    train: Pixels
    val: Pixels
    class_names: tuple[str, ...]
    class_pixels_NC: Tensor
    """The number of pixels of each class in each training image, (N, classes) int64, on the CPU."""
    key: str = ""
    """The key of the pack."""
    features: FeatureStore | None = None
    """The cache of frozen-encoder features; None if features are not cached."""

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def class_frequencies(self) -> Tensor:
        """The share of each class in the training pixels, (classes,) float32."""
        pixels = self.class_pixels_NC.sum(0)
        return pixels / pixels.sum().clamp(min=1)


def load(pack: Pack, device: torch.device, feature_bytes: float = 0, room_bytes: float | None = None) -> Data:
    """Return a pack's training and validation data, with the pixels on the device or streamed to it.

    `feature_bytes`: upper bound of the frozen-encoder feature cache, in bytes; see seg.device.features. `room_bytes`:
    bytes on the device for both splits; None: as many as pixels.room says. A split that does not fit is streamed.
    """
    room = pixels.room(device) if room_bytes is None else room_bytes
    train = pixels.load(pack, "train", device, room)
    val = pixels.load(pack, "val", device, room if train.streamed else room - pixels.size(pack, "train"))
    classes = torch.from_numpy(pack.class_pixels_NC[pack.indices("train")])
    store = FeatureStore(feature_bytes, device) if feature_bytes else None
    return Data(train, val, tuple(pack.class_names), classes, pack.key, store)


@dataclass
class Run:
    """A training run in progress. `epoch` is the number of finished epochs."""

    experiment: Experiment
    """The experiment, with `auto` precision replaced by what it means here."""
    data: Data
    device: torch.device
    ranks: Ranks
    model: Segmenter
    wrapped: nn.Module
    """The model as training calls it: wrapped in DDP if there are several ranks."""
    optimizer: torch.optim.Optimizer
    loss: Callable[[Tensor, Tensor], Tensor]
    """The loss of logits (N, K, H, W) and target (N, H, W)."""
    weights_N: Tensor
    """The sampling weight of each training image, mean 1, on the CPU."""
    microbatches: int
    """The number of parts of each rank's batch, computed in turn for one optimiser step: less memory, more time."""
    on_step: Callable[[], None]
    """The function that is called on the host after each optimiser step and each batch of an evaluation."""
    epoch: int = 0
    thawing: list[nn.Parameter] = field(default_factory=list)
    """The encoder's parameters that are frozen now but trained after `encoder_frozen_epochs`."""
    average: Average | None = None
    """The average of the weights so far, if the experiment keeps it."""

    @property
    def kept(self) -> Segmenter:
        """The model that is validated and kept."""
        return self.average.model if self.average else self.model

    @cached_property
    def encoders(self) -> tuple[Frozen, Frozen] | None:
        """The frozen encoder for training images and for validation images.

        None if the encoder is not frozen, or if the model is not separable.
        """
        if not (self.experiment.frozen_in(self.epoch + 1) and self.model.separable):
            return None
        chosen = self.experiment
        on = chosen.model, chosen.normalize, chosen.precision, self.encoder_digest, self.data.key, self.device.type

        # A trial that ran out of GPU memory, and so has microbatches, has no memory to spare for a cache.
        spare = self.device.type == "cpu" or self.microbatches == 1

        def at_work(split: str, slots: Slots) -> Frozen:
            return Frozen(self.model, self.data.features if spare else None, name_of(*on, split, slots), slots)

        augmentation = AUGMENTATIONS[self.experiment.augment]
        return at_work("train", Slots(len(self.data.train), augmentation)), at_work("val", Slots(len(self.data.val)))

    @property
    def params(self) -> tuple[int, int]:
        """The numbers of trainable and of frozen parameters. Those in `thawing` count as trainable."""
        learning = [p for p in self.model.parameters() if p.requires_grad] + self.thawing
        trainable = sum(p.numel() for p in learning)
        return trainable, sum(p.numel() for p in self.model.parameters()) - trainable

    @cached_property
    def frozen(self) -> dict[str, Tensor]:
        """The part of the model's state, by name, that never changes and that a new run starts with again.

        It is the state of a frozen encoder whose weights came from a file, and empty for any other encoder.
        """
        named = self.experiment.encoder_weights != "none"  # random weights may differ on another machine
        return self._encoder_state() if self.experiment.encoder_freeze and named else {}

    def _encoder_state(self) -> dict[str, Tensor]:
        encoder = {id(tensor) for tensor in self.model.encoder.state_dict(keep_vars=True).values()}
        state = self.model.state_dict(keep_vars=True)
        return {name: tensor.detach() for name, tensor in state.items() if id(tensor) in encoder}

    @cached_property
    def encoder_digest(self) -> str:
        """The SHA-256 of a frozen encoder's tensors, in the order of their names, hexadecimal."""
        digest = hashlib.sha256()
        for _, tensor in sorted(self._encoder_state().items()):
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class EpochResult:
    epoch: int
    train_loss: float
    train_scores: dict[str, float]
    """The scores on the augmented images, measured while the weights were changing; see metrics.scores."""
    validation: Evaluation
    seconds: float
    """The duration of training and validation together, in seconds."""
    images_per_second: float
    """The training images per second of training, without validation."""
    rates: dict[str, float]
    """The learning rate of each parameter group in the epoch's last step."""

    @property
    def row(self) -> dict[str, float | int | None]:
        """The result as one flat row, as it is in the trial's record."""
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
    """Return a run at epoch 0.

    The encoder has ImageNet weights, or random ones if `weights_dir` is None or the experiment says so. On a CPU the
    process keeps its freed memory from then on (see seg.device.memory).

    With `microbatches`, gradients are accumulated over that many parts of each batch, or fewer if it has fewer images.
    Each part has its own BatchNorm statistics and its own loss, weighted by its number of images, as each rank has.
    """
    if device.type == "cpu":
        memory.keep_freed_memory()
        memory.give_back()
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
        nn.SyncBatchNorm.convert_sync_batchnorm(model)  # in place, because the model itself is not a BatchNorm
    precision.prepare(model, device)
    model.to(device).to(memory_format=torch.channels_last)
    learning = [] if experiment.encoder_freeze else [p for p in model.encoder.parameters() if p.requires_grad]
    if experiment.frozen_in(1):
        optim.freeze_encoder(model)
    optimizer = optim.build(model, experiment)
    wrapped = ranks.wrap(model, device)
    loss = losses.bind(experiment.loss, experiment.loss_parameters, data.class_frequencies.to(device))
    weights = batches.weights(data.class_pixels_NC, experiment.oversample)
    run = Run(experiment, data, device, ranks, model, wrapped, optimizer, loss, weights, microbatches, on_step)
    run.thawing = learning if experiment.frozen_in(1) else []
    run.average = Average(model) if experiment.keep == "average" else None
    return run


def epochs(run: Run) -> Iterator[EpochResult]:
    """Train from the run's current epoch to the experiment's last. Raises Diverged if a loss is not finite."""
    while run.epoch < run.experiment.epochs:
        yield _epoch(run)


def _epoch(run: Run) -> EpochResult:
    began = time.perf_counter()
    epoch = run.epoch + 1
    if run.thawing and not run.experiment.frozen_in(epoch):
        _thaw(run)
    with torch.random.fork_rng(devices=[run.device] if run.device.type == "cuda" else []):
        # Dropout uses the global generator. The seed depends on the epoch, so that a resumed run draws the same.
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
    """Unfreeze the encoder: it is fine-tuned from now on."""
    for parameter in run.thawing:
        parameter.requires_grad_(True)
    run.thawing, run.encoders = [], None
    if run.data.features:
        run.data.features.forget()
    del run.wrapped  # DDP checks only once which parameters have gradients, and releases them when it is deleted
    run.wrapped = run.ranks.wrap(run.model, run.device)


def _check_finite(kind: str, loss: float, epoch: int) -> None:
    """Raise Diverged if the loss is not finite.

    The validation loss is checked too: if the epoch's last step broke the weights, it shows there first. Their masks
    would still have an IoU.
    """
    if not math.isfinite(loss):
        raise Diverged(f"{kind} loss is {loss} in epoch {epoch}; lower the learning rates")


def _train(run: Run, epoch: int) -> tuple[float, Counts]:
    """Train on the images of one epoch; return the mean loss and the counts of each image seen."""
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
    """Make one optimiser step; return the local mean loss and the counts of the batch's images.

    Nothing waits for the device. `slots`: where the features of the images are cached.
    """
    images, masks = augment.apply(AUGMENTATIONS[run.experiment.augment], images, masks, batch.draws_ND)
    # The same number on every rank, because SyncBatchNorm waits for all ranks in each forward pass.
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
    """Accumulate the gradients of the mean loss times `weight`; return the loss and the counts."""
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
