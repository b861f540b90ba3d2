"""Write every architecture's parameter counts as CSV: `python -m seg.models [--classes N]`."""

import argparse
import csv
import sys
from collections.abc import Sequence

from seg.cli import ArgumentParser, UserError, status_of
from seg.models import FORM, MODELS, build, check, parameter_counts


def parser() -> ArgumentParser:
    description = "Write every architecture's parameter counts as CSV."
    p = ArgumentParser("seg.models", description, "--classes 21", "--model smp:FPN:mobilenet_v2")
    p.add_argument("--model", action="append", metavar="NAME", help=f"only this one, also {FORM}; may be repeated")
    p.add_argument("--classes", type=int, default=2, metavar="N", help="background included (default: %(default)s)")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    return status_of(lambda: _write(given))


def _write(given: argparse.Namespace) -> None:
    if given.classes < 2:
        raise UserError(f"--classes {given.classes}: background and one more make at least 2")
    for name in given.model or ():
        try:
            check(name)
        except ValueError as error:
            raise UserError(str(error)) from error
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["model", "encoder_params", "decoder_params", "total_params"])
    for name in given.model or MODELS:
        encoder, decoder = parameter_counts(build(name, given.classes))
        table.writerow([name, encoder, decoder, encoder + decoder])


if __name__ == "__main__":
    sys.exit(main())
