"""Studies of which little is there, or something is amiss: a page with a sentence, or one line, and no traceback."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from generated import written

from analysis import load
from analysis.report import __main__ as report_command
from study.store import Store
from study.store.records import read_records


def page(study: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert report_command.main([str(study), "--out", str(study.parent / "page.html")]) == 0
    assert capsys.readouterr().err == ""
    return (study.parent / "page.html").read_text()


def keep(study: Path, *trials: int) -> None:
    for folder in (study / "trials").iterdir():
        if int(folder.name) not in trials:
            shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("trials", "sentence"),
    [
        ((), "No trial has begun yet."),
        ((11,), "No trial has finished yet."),  # running, one epoch
        ((3,), "No trial has finished yet."),  # stopped early
        ((7,), "No trial has finished yet."),  # failed
        ((7, 10), "No trial has finished yet."),  # failed, and did not fit
        ((9,), "Trial 9 of the search leads: mobilenetv2_skip trained with dice_bce."),
        ((0,), "Trial 0, R1 model 1 &lt;frozen&gt; (published), leads"),
        ((0, 1), "Trial 1, R3 experiment 2 (published), leads"),
        ((7, 9, 11), "Trial 9 of the search leads"),
    ],
    ids=str,
)
def test_few_trials(study: Path, trials: tuple[int, ...], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    keep(study, *trials)
    assert sentence in page(study, capsys)


def test_a_study_of_which_every_trial_failed_says_why(
    study: Path, change: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    for trial in range(12):
        change(trial, state="FAILED", reason="CUDA error: out of luck", epochs=[], best_epoch=None, test=None)
    text = page(study, capsys)
    assert "No trial has finished yet." in text and text.count("out of luck") >= 12 and "Trials that failed" in text


@pytest.mark.parametrize("kind", ["val_counts", "test_counts"])
def test_files_that_records_name_are_gone(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    study = written(tmp_path / "known", [0.8, 0.7, 0.82], repeats={2: 0})
    for path in study.glob(f"trials/*/{kind}*"):
        path.unlink()
    assert "Trial 0 of the search leads" in page(study, capsys)


def test_a_trial_was_killed_before_its_first_record(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (study / "trials" / "00012").mkdir()
    (study / "trials" / "00012" / "checkpoint-00001-abc.safetensors").write_bytes(b"")
    (study / "trials" / "00012" / "record.json.0123.partial").write_bytes(b'{"tri')
    assert len(read_records(Store(str(study)))) == 12
    assert "Trial 9 of the search leads" in page(study, capsys)


@pytest.mark.parametrize("missing", ["gallery/worst.png", "gallery/gallery.json"])
def test_pictures_are_just_being_replaced(study: Path, missing: str, capsys: pytest.CaptureFixture[str]) -> None:
    (study / missing).unlink()
    assert load.gallery(str(study)) == (None, [])
    assert "Predictions of trial 9" not in page(study, capsys)


@pytest.mark.parametrize("name", ["study.json", "trials/00009/record.json"])
def test_what_is_torn_is_named_in_one_line(study: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing that is written here is ever torn: a disk was full, or somebody was at it."""
    (study / name).write_bytes((study / name).read_bytes()[:100])
    assert report_command.main([str(study)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1 and Path(name).name in err
