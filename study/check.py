"""The dataset doctor: `python -m study.check SPEC --data DIR` says what is there and what is wrong with it.

If nothing is wrong, a contact sheet shows a dozen images with their masks, for a person to look at.
With --publish URI, what a study of SPEC decodes is put into that storage too, for other machines to download.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from seg import data, pack
from seg.contact_sheet import Panel, contact_sheet
from seg.data.sample import DataError, Dataset
from seg.picture import to_png
from study import packs
from study.arguments import ArgumentParser
from study.doctor import Report, examine, examples, lines, unreadable
from study.redact import complain, redact
from study.spec import Spec, SpecError, bundled, load_spec
from study.store import Store, StoreError

PROBLEMS_SHOWN = 20


def main(arguments: list[str] | None = None) -> int:
    """0: the dataset can be used; 2: it cannot, and stderr says why, one line a problem."""
    options = _parser().parse_args(arguments)
    if options.out and options.out.resolve().is_relative_to(options.data.resolve()):
        return _fail([f"--out {options.out}: is inside --data {options.data}; name a place outside of your data"])
    try:
        spec = _spec(options)
        dataset = data.load(spec.dataset if spec else options.spec, options.data, download=False)
    except SpecError as error:
        return _fail([str(error)])
    except DataError as error:
        return _fail_of_kinds(error)
    report = examine(dataset)
    print("\n".join(lines(report)))
    if report.problems:
        return _fail(report.problems)
    try:
        print(f"  {'contact sheet':<14}{_contact_sheet(report, options.out)}")
    except OSError as error:
        return _fail([f"{options.out or tempfile.gettempdir()}: cannot be written ({error.strerror or error})"])
    return _publish(dataset, spec.image_size, options.publish) if spec and options.publish else 0


def _contact_sheet(report: Report, path: Path | None) -> Path:
    """The file that shows a dozen images with their masks; without `path`, a new one in the system's temporary folder.

    OSError if it cannot be written."""
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


def _publish(dataset: Dataset, image_size: int, uri: str) -> int:
    try:
        storage = Store(uri if "://" in uri else str(Path(uri).resolve()))
        packed = pack.build(dataset, image_size, pack.default_root())
        began = time.monotonic()
        sent = packs.publish(storage, packed)
    except (DataError, StoreError) as error:
        return _fail([str(error)])
    what = f"{sent / 1e6:.0f} MB sent in {time.monotonic() - began:.1f} s" if sent else "it was there already"
    place = redact(f"{storage.uri}/{packs.FOLDER}/{packed.folder.name}")
    print(f"published: the pack of {len(packed.ids)} images at {image_size} px, {what}: {place}")
    return 0


def _spec(options: argparse.Namespace) -> Spec | None:
    """None where only a dataset was named: it has no image size."""
    if options.spec in bundled() or options.spec.partition(":")[0] not in data.DATASETS:
        return load_spec(options.spec, [f"image_size={options.image_size}"] if options.image_size else [])
    if options.publish:
        raise SpecError(options.spec, "", "is a dataset; to publish, name a study, which has an image size")
    return None


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(prog="python -m study.check", description=__doc__)
    parser.add_argument("spec", metavar="SPEC", help="a bundled study, the path of a YAML file, or a dataset's name")
    parser.add_argument("--data", type=Path, default=Path("data"), metavar="DIR", help="default: %(default)s")
    out = "PNG file for the contact sheet (default: a new one in the system's temporary folder)"
    parser.add_argument("--out", type=Path, metavar="FILE", help=out)
    parser.add_argument("--publish", metavar="URI", help="put the decoded images there too: the storage of the studies")
    parser.add_argument("--image-size", type=int, metavar="PX", help="of what is published (default: the spec's)")
    return parser


def _fail_of_kinds(error: DataError) -> int:
    """Some problems of every kind, and all that is found by reading on."""
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
    return 2


if __name__ == "__main__":
    sys.exit(main())
