"""`python -m seg.models [--classes N]`: CSV of every architecture's parameter counts."""

import argparse
import csv
import sys

from seg.models import FORM, MODELS, build, check, parameter_counts


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m seg.models", description=__doc__)
    parser.add_argument("--model", action="append", metavar="NAME", help=f"only this one, also {FORM}; may be repeated")
    parser.add_argument("--classes", type=int, default=2, help="classes, background included (default: 2, binary)")
    arguments = parser.parse_args()
    if arguments.classes < 2:
        parser.error(f"--classes {arguments.classes}: background and one more make at least 2")
    try:
        for name in arguments.model or ():
            check(name)
    except ValueError as error:
        parser.error(str(error))
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["model", "encoder_params", "decoder_params", "total_params"])
    for name in arguments.model or MODELS:
        encoder, decoder = parameter_counts(build(name, arguments.classes))
        table.writerow([name, encoder, decoder, encoder + decoder])


if __name__ == "__main__":
    main()
