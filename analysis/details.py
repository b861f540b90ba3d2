"""What the report shows of a trial that is clicked at: its state, scores, configuration, and how to run it again."""

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis import compare, load
from analysis.measures import labels
from study.redact import redact

SCORES = ("val_iou", "val_dice", "test_iou", "test_native_iou")


def to_json(opened: load.Study, trials: pd.DataFrame) -> str:
    """By number: `title`, `rows` (pairs of name and value) and `replay`. It stands inside a script element, which
    nothing in it may end."""
    names, said = compare.hyperparameters(trials), labels(trials)
    scores = [name for name in dict.fromkeys((compare.objective(trials).metric, *SCORES)) if name in trials]
    address = redact(opened.address)
    shown = {
        row["trial"]: {
            "title": f"trial {row['trial']} · {row['state'].lower()}",
            "rows": [*_rows(row, scores, said), *compare.configuration(row, names).items()],
            "replay": f"python -m study.replay {address} {row['trial']}",
        }
        for row in trials.to_dict("records")
    }
    return json.dumps(shown).replace("<", "\\u003c")


def _rows(row: Mapping[Any, Any], scores: list[str], said: Any) -> list[tuple[str, str]]:
    source = "" if row["source"] == compare.SEARCH else row["source"]
    if not pd.isna(row["replicate_of"]):
        source = f"trial {row['replicate_of']} with seed {row['seed']}"
    found = [("source", source), ("why it ended", row["reason"])]
    found += [(said(name), f"{row[name]:.4f}") for name in scores if not pd.isna(row[name])]
    if not pd.isna(row["best_epoch"]):
        found.append(("best epoch", f"{row['best_epoch']} of {row['epochs']}"))
    if not pd.isna(row["train_seconds"]):
        found.append(("training", f"{row['train_seconds']:.0f} s on {row['device']}"))
    return [(name, value) for name, value in found if value]
