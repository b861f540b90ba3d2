"""The leaderboard: nothing is cut, narrow terminals show the columns that matter, no study is one line."""

import dataclasses
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seg.experiment import Experiment
from study import ls
from study.driver import leaderboard
from study.ranking.objective import Objective
from study.store import Store
from study.store.records import Record, State, write_record

FROZEN = Experiment(
    "phantom", 64, "mobilenetv2_plain", "dice_bce", 9, decoder_lr=1e-3, encoder_freeze=True, augment="hflip_rotate"
)
NAME = "R1 model 1 (frozen, 0.1 Dice + BCE)"


@pytest.fixture
def records(make_record: Callable[..., Record]) -> list[Record]:
    failed = make_record(3, State.FAILED, [])
    failed.reason = "training loss is nan in epoch 1; lower the learning rates [see docs]"
    baseline = make_record(0, State.COMPLETE, [0.6, 0.7], source=NAME, experiment=FROZEN)
    baseline.test = {"iou": 0.65, "native_iou": 0.66}
    return [baseline, make_record(1, State.PRUNED, [0.5]), make_record(2, State.RUNNING, [0.9]), failed]


@pytest.fixture
def study(tmp_path: Path, records: list[Record]) -> Path:
    folder = tmp_path / "my study"
    store = Store(str(folder))
    about = {
        "format": 1,
        "name": "my study",
        "spec": {"objective": {"metric": "val_iou", "mode": "max"}},
        "dataset": {"name": "phantom", "synthetic": True},
    }
    store.write_json("study.json", about)
    for record in records:
        write_record(store, record)
    return folder


def test_piped_leaderboard(study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert ls.main([str(study)]) == 0
    lines = capsys.readouterr().out.splitlines()
    states = "1 COMPLETE, 1 FAILED, 1 PRUNED, 1 RUNNING"
    assert lines == [
        f"my study: phantom (SYNTHETIC), 4 trials ({states}), 8 s of training",
        "trial  state     val_iou  epoch  test_iou  native  model              loss      "
        "encoder  decoder  augment       batch  source",
        "2      RUNNING   0.9000   1/9                      mobilenetv2_skip   bce       "
        "1.0e-04  1.0e-03  flips         16     search",
        "0      COMPLETE  0.7000   2/9    0.6500    0.6600  mobilenetv2_plain  dice_bce  "
        f"frozen   1.0e-03  hflip_rotate  16     {NAME}",
        "1      PRUNED    0.5000   1/9                      mobilenetv2_skip   bce       "
        "1.0e-04  1.0e-03  flips         16     search",
        "trial 3 FAILED: training loss is nan in epoch 1; lower the learning rates [see docs]",
        "test_iou: the sealed test split at training size; native: at the masks' own size; finalists only",
        f"every column: python -m analysis.table {shlex.quote(str(study))}",
        f"figures:      python -m analysis.report {shlex.quote(str(study))}",
    ]


def test_what_of_a_budget_is_spent(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(str(study))
    about = store.read_json("study.json")
    for budget, spent in (
        ("25usd", "7.25 of 25 usd"),
        ("3h", "1 h 15 min of 3 h 00 min"),
        ("1gpu-hours", "0 of 1 GPU-hours"),
    ):
        resources = {"price_per_hour": {"default": 2.0, "big": 5.0}}
        store.write_json("study.json", about | {"spec": about["spec"] | {"budget": budget, "resources": resources}})
        store.write_json("spent.json", {"hours": 1.25, "node_hours": {"": 1.0, "big": 1.05}})
        assert ls.main([str(study)]) == 0
        assert f"budget: {spent} spent" in capsys.readouterr().out.splitlines()


def test_seeds_of_a_finalist_are_one_line_below(
    study: Path, records: list[Record], capsys: pytest.CaptureFixture[str], make_record: Callable[..., Record]
) -> None:
    """Mean and deviation of 0.7, 0.72 and 0.68, of 0.65 and 0.67: by hand."""
    for trial, value, test in ((4, 0.72, {"iou": 0.67, "native_iou": 0.66}), (5, 0.68, None)):
        again = make_record(trial, values=[value], replicate_of=0)
        again.test = test
        write_record(Store(str(study)), again)
    assert ls.main([str(study)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "6 trials, 2 of them with other seeds (3 COMPLETE" in lines[0]
    assert [line.split()[0] for line in lines[2:5]] == ["2", "0", "1"]
    spread = "val_iou 0.7000 ± 0.0200, test_iou 0.6600 ± 0.0141, native 0.6600 ± 0.0000"
    assert lines[5] == f"trial 0 with 3 seeds (mean ± deviation): {spread}"


TRIVIAL = {
    "every pixel background": {"iou": 0.0, "pixel_accuracy": 0.8},
    "the mean training mask": {"iou": 0.5102, "pixel_accuracy": 0.7},
}
VERDICT = {
    "trial": 1,
    "recipe": False,
    "sentences": ["The choice is trial 1: test IoU 0.655 (95 % interval 0.600 to 0.700, 9 images at native size)."],
    "warnings": ["only 9 test images: the interval is wide; score more images to narrow it"],
}


def described(study: Path, trivial: dict[str, Any], **more: Any) -> None:
    """Into study.json: what no training gives, and what else."""
    about = Store(str(study)).read_json("study.json")
    dataset = about["dataset"] | {"trivial": trivial}
    Store(str(study)).write_json("study.json", about | {"dataset": dataset} | more)


def test_before_the_verdict_the_best_stands_beside_what_no_training_gives(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    described(study, TRIVIAL)
    assert ls.main([str(study)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == ("best so far: trial 2, val_iou 0.9000; without any training: 0.5102 (the mean training mask)")
    assert lines[2].startswith("trial")


def test_an_objective_that_is_no_score_of_counts_stands_alone(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    described(study, TRIVIAL, spec={"objective": {"metric": "val_loss", "mode": "min"}})
    assert ls.main([str(study)]) == 0
    assert "without any training" not in capsys.readouterr().out


def test_the_verdict_comes_first_and_the_choice_is_always_shown(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    described(study, TRIVIAL, verdict=VERDICT, finished="2026-01-01T00:00:00+00:00")
    assert ls.main([str(study), "--top", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == [VERDICT["sentences"][0], f"warning: {VERDICT['warnings'][0]}"]
    assert [line.split()[0] for line in lines[3:6]] == ["trial", "2", "1*"]
    assert lines[6] == "*: the study's choice" and "best so far" not in "".join(lines)


def test_a_study_that_goes_on_says_its_best_below_its_earlier_verdict(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    described(study, TRIVIAL, verdict=VERDICT, finished="")
    assert ls.main([str(study)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("The choice is trial 1") and lines[3].startswith("best so far: trial 2")


@pytest.mark.parametrize("width", [40, 80])
def test_a_terminal_wraps_the_verdict_and_keeps_the_mark(
    study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    described(study, TRIVIAL, verdict=VERDICT)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(width))
    assert ls.main([str(study)]) == 0
    lines = capsys.readouterr().out.splitlines()
    title = next(number for number, line in enumerate(lines) if line.startswith("trial  "))
    assert all(len(line) <= width for line in lines[1 : title + 4])
    assert VERDICT["sentences"][0] in " ".join(" ".join(lines[1:title]).split())
    assert any(line.startswith("1* ") for line in lines)


def test_top(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ls.main([str(study), "--top", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("2 ") and lines[3].startswith("trial 3 FAILED")


def test_of_many_that_went_wrong_the_first_are_named(
    study: Path, records: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    for trial in range(4, 30):
        write_record(Store(str(study)), dataclasses.replace(records[3], trial=trial))
    assert ls.main([str(study)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "FAILED: " in line or "more that" in line]
    assert len(lines) == leaderboard.MAX_FAILURES_SHOWN + 1 and lines[-1] == "and 7 more that went wrong"


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160])
def test_a_terminal_shows_whole_columns_that_fit(records: list[Record], objective: Objective, width: int) -> None:
    ranked = [record for record in records if record.epochs]
    whole, narrow = (leaderboard.leaderboard(ranked, [objective], columns) for columns in (None, width))
    assert all(len(line) <= width for line in narrow)
    assert not any("…" in line for line in narrow)
    shown = narrow[0].split()
    assert shown[:3] == ["trial", "state", "val_iou"]
    assert [title for title in whole[0].split() if title in shown] == shown
    assert ("model" in shown) == (width >= 60) and ("source" in shown) == (width >= 120)


def test_on_a_terminal_its_width_is_asked(
    study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "70")
    assert ls.main([str(study)]) == 0
    assert (
        capsys.readouterr().out.splitlines()[1] == "trial  state     val_iou  epoch  test_iou  model              loss"
    )


def test_a_study_that_has_only_begun(tmp_path: Path, capsys: pytest.CaptureFixture[str], study: Path) -> None:
    begun = Store(str(tmp_path / "begun"))
    begun.write("study.json", (study / "study.json").read_bytes())
    assert ls.main([begun.uri]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("0 trials (none begun), 0 s of training")
    assert lines[1] == "no trial has finished an epoch yet"


def refusal(capsys: pytest.CaptureFixture[str], uri: object) -> str:
    assert ls.main([str(uri)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1
    return err


def test_what_is_no_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no study here (study.json is missing); give <storage>/<name>" in refusal(capsys, tmp_path)
    assert "nowhere: no study here" in refusal(capsys, tmp_path / "nowhere")
    assert "Protocol not known: tape" in refusal(capsys, "tape://reel/7")


def test_a_record_of_another_version(study: Path, records: list[Record], capsys: pytest.CaptureFixture[str]) -> None:
    write_record(Store(str(study)), dataclasses.replace(records[0], format=99))
    assert "00000/record.json: has format 99, this version reads 1" in refusal(capsys, study)


def test_a_study_below_the_working_directory(
    study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(study.parent)
    assert ls.main([os.path.basename(study)]) == 0
    assert f"python -m analysis.table {shlex.quote(str(study))}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["a", "--top", "many"], ["a", "--top", "0"]])
def test_a_wrong_command_line_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[Any]) -> None:
    with pytest.raises(SystemExit) as caught:
        ls.main(arguments)
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1 and "python -m study.ls --help" in err
