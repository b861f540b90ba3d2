"""Show a study's leaderboard.

python -m study.ls STUDY [--top N]
"""

import sys
from collections.abc import Sequence

from seg import cli
from seg.cli import STUDY_HELP, ArgumentParser, at_least_one
from study.driver import leaderboard
from study.store.records import open_study


def parser() -> ArgumentParser:
    p = ArgumentParser("study.ls", "Show a study's leaderboard.", "studies/first", "s3://bucket/studies/first --top 30")
    p.add_argument("study", metavar="STUDY", help=STUDY_HELP)
    p.add_argument("--top", type=at_least_one, default=10, metavar="N", help="trials shown (default: %(default)s)")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    return cli.status_of(lambda: leaderboard.show(open_study(given.study), given.top))


if __name__ == "__main__":
    sys.exit(main())
