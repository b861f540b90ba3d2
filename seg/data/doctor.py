"""A dataset's contents, read file by file: sizes, splits, class frequencies, duplicates, and problems."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from seg.data import split
from seg.data.image_file import try_all
from seg.data.sample import IGNORED, DataError, Dataset, Sample


@dataclass(frozen=True)
class Finding:
    """The contents of one readable sample."""

    id: str
    split: str
    size_hw: tuple[int, int]
    class_pixels: np.ndarray
    """The number of pixels of each mask value: (256,) int64."""
    content: str
    """The hash of the image's size and pixels, not of its file: two files with equal pixels count as one picture."""


@dataclass(frozen=True)
class Report:
    dataset: Dataset
    findings: tuple[Finding, ...]
    problems: tuple[str, ...]
    """One line for each problem; the dataset can be used if there are no problems."""

    def duplicates(self) -> list[list[Finding]]:
        """Return the groups of samples whose images are equal pixel by pixel."""
        groups = defaultdict(list)
        for finding in self.findings:
            groups[finding.content].append(finding)
        return [group for group in groups.values() if len(group) > 1]

    def empty(self) -> list[Finding]:
        """Return the samples whose mask holds only background or ignored pixels."""
        return [finding for finding in self.findings if not finding.class_pixels[1:IGNORED].any()]

    def class_shares(self) -> np.ndarray:
        """Return each class's share of the pixels, and the share of the images in which it occurs: (classes, 2)."""
        pixels = np.array([finding.class_pixels[: self.dataset.classes] for finding in self.findings])
        return np.stack([pixels.sum(axis=0) / max(pixels.sum(), 1), (pixels > 0).mean(axis=0)], axis=1)


def examine(dataset: Dataset, progress: bool = True) -> Report:
    """Read every sample once. An unreadable sample raises nothing: it is listed in the report's `problems`."""
    splits = split.assign(dataset.samples)
    findings: list[Finding] = []
    problems: list[str] = []

    def look(sample: Sample) -> Finding:
        image_HW3, mask_HW = dataset.read(sample)
        content = hashlib.blake2b(f"{image_HW3.shape}".encode() + image_HW3.tobytes(), digest_size=16)
        pixels = np.bincount(mask_HW.ravel(), minlength=IGNORED + 1)
        height, width = mask_HW.shape
        return Finding(sample.id, splits[sample.id], (height, width), pixels, content.hexdigest())

    for found in try_all(look, dataset.samples, "reading", progress):
        if isinstance(found, DataError):
            problems.append(str(found))
        else:
            findings.append(found)
    problems += [f"{dataset.name}: no usable image in the {name} split; add images" for name in _unfilled(findings)]
    return Report(dataset, tuple(findings), tuple(problems))


def unreadable(samples: Sequence[Sample], known: Collection[str] = (), progress: bool = True) -> list[str]:
    """Return what is wrong with the files of samples that never became a dataset, except what is `known`."""

    def look(sample: Sample) -> list[str]:
        problems = []
        for read in (sample.image, sample.mask):
            try:
                read()
            except DataError as error:
                problems.append(str(error))
        return problems

    found = [line for lines in try_all(look, samples, "reading", progress) if isinstance(lines, list) for line in lines]
    return [line for line in dict.fromkeys(found) if line not in known]


def examples(report: Report, count: int = 12) -> list[Finding]:
    """Choose `count` samples to show, some of each split.

    If possible, one shows each of the `count // 2` rarest classes. The rest are chosen by a hash of their ids. Samples
    with an empty mask are chosen last.
    """
    empty = {finding.id for finding in report.empty()}
    order = sorted(report.findings, key=lambda finding: (finding.id in empty, split.position(finding.id)))
    chosen: dict[str, Finding] = {}
    for name in split.SPLITS:
        chosen |= {finding.id: finding for finding in [f for f in order if f.split == name][: count // 6]}
    rarest_first = np.argsort(report.class_shares()[:, 1], kind="stable")
    for label in rarest_first[: count // 2]:
        if not any(finding.class_pixels[label] for finding in chosen.values()):
            chosen |= {finding.id: finding for finding in [f for f in order if f.class_pixels[label]][:1]}
    shown = [*chosen.values(), *(finding for finding in order if finding.id not in chosen)][:count]
    return sorted(shown, key=lambda finding: (split.SPLITS.index(finding.split), finding.id))


def _unfilled(findings: list[Finding]) -> list[str]:
    present = {finding.split for finding in findings}
    return [name for name in split.SPLITS if name not in present]


def lines(report: Report) -> list[str]:
    """Return the report as lines for a terminal."""
    dataset = report.dataset
    text = [f"{dataset.name}: {len(dataset.samples)} images, {len(report.findings)} of them usable"]
    if dataset.remark:
        text.append(f"  {'remark':<14}{dataset.remark}")
    if dataset.mask_values:
        text.append(f"  {'mask values':<14}{dataset.mask_values}")
    text += [f"  {'WARNING':<14}{warning}" for warning in dataset.warnings]
    text.append(f"  {'splits':<14}{', '.join(_counts(report))}")
    if not report.findings:
        return text
    text += [*_sizes(report), *_classes(report)]
    if dataset.skipped:
        text.append(f"  {'left out':<14}{_some(list(dataset.skipped), shown=3)}")
    text.append(f"  {'empty masks':<14}{_some([finding.id for finding in report.empty()])}")
    return text + _duplicates(report)


def _counts(report: Report) -> list[str]:
    found = [finding.split for finding in report.findings]
    return [f"{name} {found.count(name)}" for name in split.SPLITS]


def _sizes(report: Report) -> list[str]:
    sizes_hw = sorted((finding.size_hw for finding in report.findings), key=lambda hw: (hw[0] * hw[1], hw))
    picked = {"smallest": sizes_hw[0], "median": sizes_hw[len(sizes_hw) // 2], "largest": sizes_hw[-1]}
    text = ", ".join(f"{name} {width}×{height}" for name, (height, width) in picked.items())
    return [f"  {'width×height':<14}{text} pixels (by area)"]


def _classes(report: Report) -> list[str]:
    width = max(12, *map(len, report.dataset.class_names))
    rows = [f"  {'class':<{width}}  {'of pixels':>10}  {'in images':>10}"]
    for name, (pixels, images) in zip(report.dataset.class_names, report.class_shares(), strict=True):
        rows.append(f"  {name:<{width}}  {pixels:>10.2%}  {images:>10.2%}")
    ignored = np.array([[finding.class_pixels[IGNORED], finding.class_pixels.sum()] for finding in report.findings])
    if ignored[:, 0].any():
        share, images = ignored[:, 0].sum() / ignored[:, 1].sum(), (ignored[:, 0] > 0).mean()
        rows.append(f"  {'(ignored)':<{width}}  {share:>10.2%}  {images:>10.2%}  of all pixels")
    return rows


def _duplicates(report: Report) -> list[str]:
    groups = report.duplicates()
    across = [group for group in groups if len({finding.split for finding in group}) > 1]
    within = [group for group in groups if group not in across]
    return [
        f"  {'duplicates':<14}within a split: {_some([_named(group) for group in within])}",
        f"  {'':<14}across splits: {_some([_named(group) for group in across])}",
    ]


def _named(group: list[Finding]) -> str:
    return " = ".join(f"{finding.id} ({finding.split})" for finding in group)


def _some(names: list[str], shown: int = 5) -> str:
    if not names:
        return "none"
    return f"{len(names)}: {', '.join(names[:shown])}{', ...' if len(names) > shown else ''}"
