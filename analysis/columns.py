"""The leaderboard's columns: heading, what is measured and how, and how a value is written."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    name: str
    """In the table of analysis.load."""
    title: str
    meaning: str
    form: str = ""
    """Format of a number; empty for text."""

    @property
    def number(self) -> bool:
        return bool(self.form)

    def text(self, value: object) -> str:
        if value is None or value != value:
            return ""
        return f"{value:{self.form}}" if self.form else str(value)


PER_IMAGE = "of each image at threshold 0.5, then the mean; both masks empty = 1 (multi-class: macro over classes)"

COLUMNS = (
    Column("trial", "trial", "number of the trial, from 0", "d"),
    Column("state", "state", "COMPLETE, PRUNED (stopped early at a rung), FAILED or INFEASIBLE (out of memory)"),
    Column("val_iou", "val IoU", f"TP / (TP + FP + FN) {PER_IMAGE}; validation split, training size", ".4f"),
    Column("val_dice", "val Dice", f"2 TP / (2 TP + FP + FN) {PER_IMAGE}; validation split, training size", ".4f"),
    Column("val_loss", "val loss", "the trial's own loss: comparable within one loss only", ".4f"),
    Column("test_iou", "test IoU", f"as val IoU, on the sealed test split, training size, {PER_IMAGE}", ".4f"),
    Column("test_native_iou", "test IoU, native", "as test IoU, but at the masks' own size (the ISIC rule)", ".4f"),
    Column("test_native_dice", "test Dice, native", "Dice on the sealed test split, at the masks' own size", ".4f"),
    Column("test_soft_iou", "test soft IoU", "unthresholded probabilities times masks, as some papers measure", ".4f"),
    Column("best_epoch", "best epoch", "epoch of the scores and of the kept weights", ".0f"),
    Column("epochs", "epochs", "epochs trained", "d"),
    Column("model", "model", "architecture"),
    Column("loss", "loss", "training loss"),
    Column("loss_dice_weight", "Dice weight", "dice_weight · Dice + BCE", ".3g"),
    Column("encoder_freeze", "frozen", "encoder frozen: no gradients, fixed BatchNorm statistics"),
    Column("encoder_lr", "encoder lr", "initial learning rate of the encoder", ".2e"),
    Column("decoder_lr", "decoder lr", "initial learning rate of the decoder", ".2e"),
    Column("augment", "augmentation", "random flips and rotations, the same on image and mask"),
    Column("batch_size", "batch", "images in one optimiser step, over all workers", "d"),
    Column("source", "source", "search, or the name of a published baseline"),
    Column("train_seconds", "seconds", "training and validation, all epochs", ".0f"),
    Column("images_per_second", "images/s", "training images a second", ".0f"),
)
