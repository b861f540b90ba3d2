"""The dataset doctor: `python -m study.check SPEC --data DIR` says what is there and what is wrong with it."""

import argparse
import sys
from pathlib import Path

from seg import data
from seg.data.sample import DataError
from study.doctor import examine, lines
from study.spec import SpecError, load_spec

PROBLEMS_SHOWN = 20


def main(arguments: list[str] | None = None) -> int:
    """0: the dataset can be used; 2: it cannot, and stderr says why, one line a problem."""
    options = _parser().parse_args(arguments)
    try:
        name = options.spec if options.spec in data.DATASETS else load_spec(options.spec, overrides=[]).dataset
        dataset = data.load(name, options.data, download=False)
    except SpecError as error:
        return _fail([str(error)])
    except DataError as error:
        return _fail(error.problems)
    report = examine(dataset)
    print("\n".join(lines(report)))
    return _fail(report.problems) if report.problems else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m study.check", description=__doc__)
    parser.add_argument("spec", metavar="SPEC", help="a bundled study, the path of a YAML file, or a dataset's name")
    parser.add_argument("--data", type=Path, default=Path("data"), metavar="DIR", help="default: %(default)s")
    return parser


def _fail(problems: tuple[str, ...] | list[str]) -> int:
    for problem in problems[:PROBLEMS_SHOWN]:
        print(f"error: {problem}", file=sys.stderr)
    if len(problems) > PROBLEMS_SHOWN:
        print(f"error: and {len(problems) - PROBLEMS_SHOWN} more", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
