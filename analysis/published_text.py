"""The table of published figures as blocks, one a configuration: for a terminal, and for the report."""

import shutil
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

TITLES = ("", "published", "ours", "difference", "properly", "images")
WIDTH = 100
"""Characters in a line where there is no terminal."""
PROPERLY = "on masks, not probabilities, at their own size"


@dataclass(frozen=True)
class Block:
    title: str
    study: str
    lines: list[tuple[str, ...]]
    """Under TITLES."""
    missing: list[str]
    """Why ours are missing."""
    differs: list[str]


def blocks(rows: pd.DataFrame) -> list[Block]:
    """Each published configuration; the references of a study together. `rows` as of `analysis.published`."""
    return [_block(block) for _, block in rows.groupby(["study", "kind", "configuration"], sort=False)]


def _block(rows: pd.DataFrame) -> Block:
    first = rows.iloc[0]
    lines = [_line(row) for _, row in rows.iterrows()]
    return Block(_title(first), first["study"], lines, _distinct(rows["missing"]), _distinct(rows["differs"]))


def _distinct(reasons: pd.Series) -> list[str]:
    return [reason for reason in dict.fromkeys(reasons) if reason]


def _title(row: pd.Series) -> str:
    if row["kind"] == "reference":
        return f"References, beside the {row['configuration']}"
    named = not row["system"] or row["configuration"].startswith(row["system"])
    return row["configuration"] if named else f"{row['system']}: {row['configuration']}"


def _line(row: pd.Series) -> tuple[str, ...]:
    about = f"{row['system']}: " if row["kind"] == "reference" else ""
    ours = (_number(row["ours"]), _number(row["difference"], "+"), _number(row["properly"]))
    return (about + row["metric"], f"{row['published']:g}", *ours, "" if pd.isna(row["images"]) else str(row["images"]))


def _number(value: float, sign: str = "") -> str:
    """To four places; nothing where there is none."""
    return "" if pd.isna(value) else f"{value:{sign}.4f}"


def to_text(rows: pd.DataFrame) -> str:
    if rows.empty:
        return "no published figures: these studies hold no published configuration, nor data with a reference\n"
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH
    return "\n".join("\n".join(_text(block, width)) + "\n" for block in blocks(rows))


def _text(block: Block, width: int) -> Iterator[str]:
    yield from textwrap.wrap(f"{block.title} (study {block.study})", width, subsequent_indent="  ")
    lines = [TITLES, *block.lines]
    widths = [max(len(line[place]) for line in lines) for place in range(len(TITLES))]
    for first, *numbers in lines:
        right = [cell.rjust(size) for cell, size in zip(numbers, widths[1:], strict=True)]
        yield "  ".join(["", first.ljust(widths[0]), *right]).rstrip()
    reasons = [f"blank: {reason}" for reason in block.missing] + [f"differs: {reason}" for reason in block.differs]
    for reason in reasons:
        yield from textwrap.wrap(reason, width, initial_indent="  ", subsequent_indent="    ")
    if any(line[TITLES.index("properly")] for line in block.lines):
        yield f"  properly: {PROPERLY}"
