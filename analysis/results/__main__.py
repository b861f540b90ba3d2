"""Make RESULTS.md with its tables and figures from the records that lie beside this file.

    python -m analysis.results                      everything, made anew; figures need Chrome or Chromium
    python -m analysis.results --keep STUDY TOPIC   first take a study's records in: no weights, no images

A topic is a folder here. It holds `learned.md` (written by a person; its first line is the title), the specs, and
`records/<study>`. Made from these are `figures/`, a table of trials per study, and the topic's section of RESULTS.md.
"""

import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from analysis import load, table
from analysis.finalists import sealed
from analysis.finalists.sealed import default_score, finalists, place
from analysis.finalists.standings import Standing, lacking, over_seeds, pairs, standings, title
from analysis.report import browser, page, views
from seg.cli import ArgumentParser, status_of
from study.store import Store
from study.store.records import ENSEMBLES, write_record

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "RESULTS.md"
LEARNED, RECORDS, FIGURES = "learned.md", "records", "figures"
FIGURES_SHOWN = ("history", "importance", "choice_effects", "seed_scores", "finalist_scores")
"""Figures of a study that RESULTS.md shows; the others lie beside them in the folder."""
COUNTS = ("test_counts", "val_counts")
INTRODUCTION = """# Results

What our own studies found, on the images that their sections name. Each line can be had again by the command beside its
study; every table and figure is made from the records in [analysis/results](analysis/results) by
`python -m analysis.results`.
"""


def keep(study: str, topic: str) -> Path:
    """Copy a study's records, finalists' counts, and ensembles into a topic, and return the new folder.

    The machine's host name and folders are left out of study.json.
    """
    opened = load.open_study(study)
    target = HERE / topic / RECORDS / str(opened.info["name"])
    source, kept = opened.store, Store(str(target))
    machine = {key: value for key, value in opened.info["machine"].items() if key != "host"}
    kept.write_json("study.json", opened.info | {"machine": machine, "places": {"data": "data", "weights": None}})
    for record in opened.records:
        record.files = {kind: name for kind, name in record.files.items() if kind in COUNTS and record.test}
        for name in record.files.values():
            kept.write(f"{record.folder}/{name}", source.read(f"{record.folder}/{name}"))
        write_record(kept, record)
    for name in source.names(ENSEMBLES):
        kept.write(f"{ENSEMBLES}/{name}", source.read(f"{ENSEMBLES}/{name}"))
    return target


def section(topic: Path) -> Iterator[str]:
    """Yield a topic's section of RESULTS.md, and write its tables and figures beside the records."""
    title, _, learned = (topic / LEARNED).read_text().partition("\n")
    studies = [load.open_study(str(path)) for path in sorted((topic / RECORDS).iterdir())]
    yield f"## {title.lstrip('# ')}\n"
    yield f"{learned.strip()}\n"
    yield from _standings(studies)
    for opened in studies:
        yield from _of_study(topic, opened)


def _standings(studies: Sequence[load.Study]) -> Iterator[str]:
    if not (found := finalists(studies)):
        return
    name = default_score(studies[0], found)
    tested = pairs(found, name)
    yield f"{title(name, place(found), len(found[0].ids)).capitalize()}:\n"
    yield "| study | trial | score | interval | over its seeds | ties | what it is |\n|---|---|---:|---|---|---|---|"
    yield from map(_line, standings(found, name, tested))
    yield "\nTwo with a common letter under *ties* do not differ significantly (permutation test, Holm, 5 %).\n"


def _line(row: Standing) -> str:
    interval, over = f"{row.low:.4f} to {row.high:.4f}", over_seeds(row)
    return f"| {row.study} | {row.trial} | {row.score:.4f} | {interval} | {over} | {row.ties} | {row.source} |"


def _of_study(topic: Path, opened: load.Study) -> Iterator[str]:
    info, name = opened.info, str(opened.info["name"])
    rows = load.trials(opened)
    (topic / f"{name}.csv").write_text(table.to_csv(rows))
    drawn = page.drawings([views.view(opened)])
    browser.save(drawn, topic / FIGURES / name, formats=("png",))
    place = topic.relative_to(PAGE.parent)
    yield f"### {name}\n"
    yield "\n".join(f"    {command}" for command in _commands(info, opened)) + "\n"
    yield f"{_cost(info, rows['train_seconds'].sum())} Table: [{name}.csv]({place}/{name}.csv).\n"
    if found := finalists([opened]):
        yield f"On the test split, {lacking(found, default_score(opened, found))}.\n"
    shown = [key for key in FIGURES_SHOWN if key in drawn]
    yield "\n".join(f"![{name}: {key}]({place}/{FIGURES}/{name}/{key}.png)" for key in shown) + "\n"


def _commands(info: dict[str, Any], opened: load.Study) -> Iterator[str]:
    """Yield the commands that produced the study's rows."""
    yield info["command"]
    for one in sealed.ensembles(opened):
        flips = " --flips" if one.flips else ""
        yield f"python -m study.ensemble studies/{info['name']} --trials {' '.join(map(str, one.trials))}{flips}"


def _cost(info: dict[str, Any], train_seconds: float) -> str:
    machine, software = info["machine"], (f"{name} {version}" for name, version in sorted(info["software"].items()))
    wall = datetime.fromisoformat(info["finished"]) - datetime.fromisoformat(info["created"])
    cores = info["allotment"]["threads"] * info["allotment"]["workers"]
    gpus = machine["gpus"] or "no"
    took = f"{wall.total_seconds() / 60:.0f} min from begin to end, {train_seconds / 60:.0f} min of training"
    hours = f"on {cores} cores ({cores * train_seconds / 3600:.1f} core-hours)"
    return f"{machine['cpus']} CPU cores, {gpus} GPUs; {', '.join(software)}; {took} {hours}."


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    return status_of(lambda: _make(given.keep))


def parser() -> ArgumentParser:
    p = ArgumentParser("analysis.results", "Make RESULTS.md from its records.", "--keep studies/first losses")
    p.add_argument("--keep", nargs=2, metavar=("STUDY", "TOPIC"), help="first add a study's records to a topic")
    return p


def _make(kept: Sequence[str] | None) -> None:
    if kept:
        print(f"kept: {keep(*kept)}")
    topics = sorted(path.parent for path in HERE.glob(f"*/{LEARNED}"))
    lines = [line for topic in topics for line in section(topic)]
    PAGE.write_text("\n".join([INTRODUCTION, *lines]))
    print(f"{PAGE.name}: {len(topics)} topics")


if __name__ == "__main__":
    sys.exit(main())
