"""The folder that an export is written to: one that it made itself, or an empty one."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from study.exporters.source import ExportError, Source

MARKER = "export.json"
"""Says whose the folder is, and what of each trial is in it."""


@dataclass
class Output:
    path: Path
    owner: dict[str, Any]
    trials: dict[str, str] = field(default_factory=dict)
    """Trial's number -> fingerprint of its record when it was written."""

    def has(self, trial: int, fingerprint: str) -> bool:
        return self.trials.get(str(trial)) == fingerprint

    def add(self, trial: int, fingerprint: str) -> None:
        self.trials[str(trial)] = fingerprint

    def save(self) -> None:
        partial = self.path / f".{MARKER}.partial"
        partial.write_text(json.dumps(self.owner | {"trials": self.trials}, indent=1))
        os.replace(partial, self.path / MARKER)


def claim(source: Source, to: str, given: Path | None) -> Output:
    """`given`, or ./<study>-<to>. ExportError where there is something in it that another export or person made."""
    path = given or Path(f"{source.name}-{to}")
    output = Output(path, {"made_by": "study.export", "study": source.identity, "to": to})
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            output.trials = _earlier(output)
        output.save()
    except OSError as error:
        raise ExportError(f"{path}: cannot be written ({error.strerror}); name another folder with --out") from error
    return output


def _earlier(output: Output) -> dict[str, str]:
    """What an export of the same study has left here."""
    marker = output.path / MARKER
    try:
        found = json.loads(marker.read_text())
        trials = {str(trial): str(mark) for trial, mark in found.pop("trials").items()}
    except (FileNotFoundError, ValueError, KeyError, AttributeError) as error:
        raise ExportError(f"{output.path}: holds files that are not this command's; name another with --out") from error
    if found != output.owner:
        other = f"{found.get('study')} to {found.get('to')}"
        raise ExportError(f"{output.path}: holds another export ({other}); name another folder with --out")
    return trials
