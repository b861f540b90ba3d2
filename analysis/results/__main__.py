"""RESULTS.md with its tables and figures, from the records that lie beside this file.

    python -m analysis.results                      everything, made anew; figures need Chrome or Chromium
    python -m analysis.results --keep STUDY TOPIC   first take a study's records in: no weights, no images

A topic is a folder here: `learned.md` in a person's words, its first line the title; the specs; `records/<study>`. What
is made of them: `figures/`, a table of trials for each study, and the topic's section of RESULTS.md.
"""

import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from analysis import ensembles, finalists_text, images, load, report, table, views
from analysis.hard import lacking
from analysis.sealed import NotComparable, default_score, finalists, place
from analysis.standings import Standing, pairs, standings
from study.arguments import ArgumentParser
from study.records import ENSEMBLES, write_record
from study.redact import complain
from study.store import Store, StoreError

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "RESULTS.md"
LEARNED, RECORDS, FIGURES = "learned.md", "records", "figures"
SHOWN = ("history", "importance", "choice_effects", "seed_scores", "finalist_scores")
"""Figures of a study that are in the page; the others lie beside them."""
COUNTS = ("test_counts", "val_counts")
INTRODUCTION = """# Results

What our own studies found, on the images that their sections name. Each line can be had again by the command beside its
study; every table and figure is made from the records in [analysis/results](analysis/results) by
`python -m analysis.results`.
"""


def keep(study: str, topic: str) -> Path:
    """Its records, the counts of its finalists, its ensembles; without what tells of the machine's folders."""
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
    """Of RESULTS.md; writes tables and figures beside the records."""
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
    yield f"{finalists_text.title(name, place(found), len(found[0].ids)).capitalize()}:\n"
    yield "| study | trial | score | interval | over its seeds | ties | what it is |\n|---|---|---:|---|---|---|---|"
    yield from map(_line, standings(found, name, tested))
    yield "\nTwo that share a letter under *ties* are not told apart (permutation test over images, Holm, 5 %).\n"


def _line(row: Standing) -> str:
    interval, over = f"{row.low:.4f} to {row.high:.4f}", finalists_text.over_seeds(row)
    return f"| {row.study} | {row.trial} | {row.score:.4f} | {interval} | {over} | {row.ties} | {row.source} |"


def _of_study(topic: Path, opened: load.Study) -> Iterator[str]:
    info, name = opened.info, str(opened.info["name"])
    rows = load.trials(opened)
    (topic / f"{name}.csv").write_text(table.to_csv(rows))
    drawn = report.drawings([views.view(opened)])
    images.save(drawn, topic / FIGURES / name, formats=("png",))
    place = topic.relative_to(PAGE.parent)
    yield f"### {name}\n"
    yield "\n".join(f"    {command}" for command in _commands(info, opened)) + "\n"
    yield f"{_cost(info, rows['train_seconds'].sum())} Table: [{name}.csv]({place}/{name}.csv).\n"
    if found := finalists([opened]):
        yield f"On the test split, {lacking(found, default_score(opened, found))}.\n"
    shown = [key for key in SHOWN if key in drawn]
    yield "\n".join(f"![{name}: {key}]({place}/{FIGURES}/{name}/{key}.png)" for key in shown) + "\n"


def _commands(info: dict[str, Any], opened: load.Study) -> Iterator[str]:
    """By which each of its rows was had."""
    yield info["command"]
    for one in ensembles.ensembles(opened):
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
    parser = ArgumentParser(prog="python -m analysis.results", description="RESULTS.md, made anew from its records.")
    parser.add_argument("--keep", nargs=2, metavar=("STUDY", "TOPIC"), help="first take a study's records in")
    given = parser.parse_args(arguments)
    try:
        if given.keep:
            print(f"kept: {keep(*given.keep)}")
        topics = sorted(path.parent for path in HERE.glob(f"*/{LEARNED}"))
        lines = [line for topic in topics for line in section(topic)]
        PAGE.write_text("\n".join([INTRODUCTION, *lines]))
    except (load.StudyNotFound, NotComparable, StoreError, images.DrawingError) as error:
        complain(error)
        return 2
    print(f"{PAGE.name}: {len(topics)} topics")
    return 0


if __name__ == "__main__":
    sys.exit(main())
