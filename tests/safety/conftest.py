"""A study to read, and a guard: no command of these tests starts one."""

import shutil
from pathlib import Path
from typing import Any

import pytest

STUDY = Path(__file__).parents[1] / "assets" / "studies" / "names-of-their-own"


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small study that ran, in a folder of its own; the working folder is an empty one."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    shutil.copytree(STUDY, tmp_path / "study")
    return tmp_path / "study"


@pytest.fixture(autouse=True)
def nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that should have been refused, and is not, must not train a study here."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a study was about to start")

    monkeypatch.setattr("study.driver.preparation.prepare", refuse)
    monkeypatch.setattr("ray.init", refuse)
