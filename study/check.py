"""The dataset doctor: `python -m study.check SPEC --data DIR` reports what the data holds and what is wrong with it.

If nothing is wrong, it writes a contact sheet of a dozen images with their masks, for a person to look at.
With --publish URI, it also puts the decoded images of SPEC into that storage, for other machines to download.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from seg import data, pack
from seg.cli import BAD_INPUT, OK, ArgumentParser, UserError, complain, redact, status_of
from seg.data.doctor import Report, examine, examples, lines, unreadable
from seg.data.sample import DataError, Dataset
from seg.picture import Panel, contact_sheet, to_png
from study.spec import Spec, SpecError, bundled, load_spec
from study.store import Store, packs

PROBLEMS_SHOWN = 20


def main(arguments: list[str] | None = None) -> int:
    """Check the dataset. Return 0 if it can be used, else 2, with one line per problem on stderr."""
    options = parser().parse_args(arguments)
    return status_of(lambda: _check(options))


def _check(options: argparse.Namespace) -> int:
    if options.out and options.out.resolve().is_relative_to(options.data.resolve()):
        raise UserError(f"--out {options.out}: is inside --data {options.data}; name a place outside of your data")
    spec = _spec(options)
    try:
        dataset = data.load(spec.dataset if spec else options.spec, options.data, download=False)
    except DataError as error:
        return _fail_of_kinds(error)
    report = examine(dataset)
    print("\n".join(lines(report)))
    if report.problems:
        return _fail(report.problems)
    try:
        print(f"  {'contact sheet':<14}{_contact_sheet(report, options.out)}")
    except OSError as error:
        place = options.out or tempfile.gettempdir()
        raise UserError(f"{place}: cannot be written ({error.strerror or error}); give another --out") from error
    if spec and options.publish:
        _publish(dataset, spec.image_size, options.publish)
    return OK


def _contact_sheet(report: Report, path: Path | None) -> Path:
    """Write a picture of a dozen images with their masks, and return its path.

    Without `path`, it is a new file in the system's temporary folder. Raises OSError if it cannot be written.
    """
    samples = {sample.id: sample for sample in report.dataset.samples}
    panels = [
        Panel(finding.id, finding.split, *report.dataset.read(samples[finding.id])) for finding in examples(report)
    ]
    remark = f" ({report.dataset.remark})" if report.dataset.remark else ""
    title = f"{report.dataset.name}{remark}: {len(panels)} of {len(report.findings)} images"
    content = to_png(contact_sheet(title, panels, report.dataset.class_names))
    if path is None:
        handle, name = tempfile.mkstemp(prefix=f"check-{report.dataset.name}-", suffix=".png")
        os.close(handle)
        path = Path(name)
    path.write_bytes(content)
    return path


def _publish(dataset: Dataset, image_size: int, uri: str) -> None:
    storage = Store(uri if "://" in uri else str(Path(uri).resolve()))
    packed = pack.build(dataset, image_size, pack.default_root())
    began = time.monotonic()
    sent = packs.publish(storage, packed)
    what = f"{sent / 1e6:.0f} MB sent in {time.monotonic() - began:.1f} s" if sent else "it was there already"
    place = redact(f"{storage.uri}/{packs.FOLDER}/{packed.folder.name}")
    print(f"published: the pack of {len(packed.ids)} images at {image_size} px, {what}: {place}")


def _spec(options: argparse.Namespace) -> Spec | None:
    """Return the study's spec, or None if only a dataset was named, which has no image size."""
    if options.spec in bundled() or options.spec.partition(":")[0] not in data.DATASETS:
        return load_spec(options.spec, [f"image_size={options.image_size}"] if options.image_size else [])
    if options.publish:
        raise SpecError(options.spec, "", "is a dataset; to publish, name a study, which has an image size")
    return None


def parser() -> ArgumentParser:
    description = "Look a dataset over before training: every problem, and what was understood."
    p = ArgumentParser(
        "study.check", description, "folder --data photos", "isic --data data --publish s3://bucket/studies"
    )
    p.add_argument("spec", metavar="SPEC", help="a bundled study, the path of a YAML file, or a dataset's name")
    p.add_argument("--data", type=Path, default=Path("data"), metavar="DIR", help="datasets (default: %(default)s)")
    out = "PNG file for the contact sheet (default: a new one in the system's temporary folder)"
    p.add_argument("--out", type=Path, metavar="FILE", help=out)
    p.add_argument("--publish", metavar="URI", help="put the decoded images there too: the storage of the studies")
    p.add_argument("--image-size", type=int, metavar="PX", help="of what is published (default: the spec's)")
    return p


def _fail_of_kinds(error: DataError) -> int:
    """Print some problems of each kind, and further ones found by reading the files. Return the exit code."""
    for kind in error.kinds:
        _fail(kind.problems)
        if kind is not error and kind.remedy:
            print(f"  {redact(kind.remedy)}", file=sys.stderr)
    return _fail(unreadable(error.samples, error.problems))


def _fail(problems: tuple[str, ...] | list[str]) -> int:
    for problem in problems[:PROBLEMS_SHOWN]:
        complain(problem)
    if len(problems) > PROBLEMS_SHOWN:
        complain(f"and {len(problems) - PROBLEMS_SHOWN} more")
    return BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
