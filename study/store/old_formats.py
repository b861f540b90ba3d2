"""The records of versions before 0.1.0, which get today's form when they are read.

No other module knows the old forms. Version 0.2.0 drops this one, and refuses such records by another `format`.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

FIRST_NAMES = {
    "best": "best.safetensors",
    "val_counts": "val_counts.parquet",
    "val_confusion": "val_confusion.parquet",
    "test_counts": "test_counts.parquet",
    "test_confusion": "test_confusion.parquet",
}
"""The files of a record that does not name them. The first version had a fixed name for each."""

PAUSE_SECONDS = 300
"""A trial that lasted longer than twice its training and this was interrupted."""


def brought_up(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record's JSON with what older versions left out."""
    return {"files": dict(FIRST_NAMES), **raw, "extra": {**_precision(raw), **_stints(raw), **raw.get("extra", {})}}


def _precision(raw: Mapping[str, Any]) -> dict[str, str]:
    """Return the precision of a trial of before 2026-11-27: bf16 on GPUs, float32 on CPUs."""
    return {} if "precision" in raw["experiment"] else {"precision": "bf16" if raw.get("gpus") else "fp32"}


def _stints(raw: Mapping[str, Any]) -> dict[str, list[dict[str, str]]]:
    """Return the times on a lane of a trial of before 2026-11-27, which has only its last lane and when it ended there.

    If that trial was resumed, its start there is taken to be its training time before its end.
    """
    lane, started, finished = raw.get("extra", {}).get("lane"), raw.get("started"), raw.get("finished")
    if not (lane and started and finished):
        return {}
    seconds, ended = sum(row["seconds"] for row in raw["epochs"]), datetime.fromisoformat(finished)
    if (ended - datetime.fromisoformat(started)).total_seconds() > 2 * seconds + PAUSE_SECONDS:
        started = (ended - timedelta(seconds=seconds)).isoformat(timespec="seconds")
    return {"stints": [{"lane": str(lane), "started": started, "finished": finished}]}
