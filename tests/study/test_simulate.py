"""The command: what it prints and leaves, and what it refuses."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from own_specs import SEARCHED, WITH_BASELINES

from analysis import table
from analysis.report import __main__ as report_command
from study import ls, simulate
from study.store import Store
from study.store.records import State, read_records

PROMOTING = "early_stopping={scheduler: promoting_asha, min_epochs: 1, reduction_factor: 3}"
CHECKED = "checked: every trial ended once, no epoch twice, no lane idle while trials waited"
PROJECT = Path(__file__).parents[2]
TWO_OBJECTIVES = "objective=[{metric: val_iou}, {metric: latency_ms, mode: min}]"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    storage = tmp_path_factory.mktemp("studies")
    arguments = [SEARCHED, "--lanes", "5", "--trials", "40", "--epochs", "9", "--seed", "3", "--set", PROMOTING]
    faults = ["--failures", "0.2", "--stragglers", "0.3", "--node-losses", "200"]
    assert simulate.main([*arguments, *faults, "--storage", str(storage), "--name", "made-up"]) == 0
    return storage / "made-up"


def test_it_says_what_it_did_and_that_it_was_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate.main([SEARCHED, "--trials", "12", "--storage", str(tmp_path), "--set", "sampler=random"]) == 0
    out = capsys.readouterr().out
    assert "simulated phantom (SIMULATED), 12 trials" in out and "12/12 trials" in out
    assert "lanes trained " in out and " results, " in out and "peak memory of this process: " in out
    assert out.endswith(f"{CHECKED}\n")
    (name,) = (path.name for path in tmp_path.iterdir())
    assert name.startswith("simulated-searched-")


def test_neither_ray_nor_torch_is_loaded(tmp_path: Path) -> None:
    """Nor torchvision: only the samplers gp and qmc compute with torch."""
    arguments = [WITH_BASELINES, "--trials", "40", "--storage", str(tmp_path), "--set", PROMOTING]
    code = f"import sys; from study import simulate; assert simulate.main({arguments!r}) == 0; "
    code += "print('loaded:', *{'ray', 'torch', 'torchvision'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-2:] == [CHECKED, "loaded:"]


def test_a_bundled_study_is_simulated_with_its_defaults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The recipe among the trials, gp and promoting ASHA."""
    assert simulate.main(["isic", "--trials", "12", "--epochs", "9", "--storage", str(tmp_path), "--name", "i"]) == 0
    assert CHECKED in capsys.readouterr().out
    recipe = read_records(Store(str(tmp_path / "i")))[0]
    assert (recipe.source, recipe.state, len(recipe.epochs)) == ("recipe", State.COMPLETE, 9)


def test_two_models_are_compared_on_simulated_lanes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pauses, promotions, crashes and lost nodes among them."""
    arguments = [SEARCHED, "--lanes", "5", "--trials", "60", "--epochs", "9", "--set", PROMOTING]
    more = ["--set", "compare=model", "--set", "sampler=random", "--node-losses", "100", "--failures", "0.1"]
    assert simulate.main([*arguments, *more, "--storage", str(tmp_path), "--name", "compared"]) == 0
    out = capsys.readouterr().out
    assert "the best of each model; expected: of 30 trials; luck:" in out and "checked: every trial ended once" in out


def test_it_is_read_like_any_other_study_and_called_simulated(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ls.main([str(study)]) == 0
    assert capsys.readouterr().out.startswith("made-up: simulated phantom (SIMULATED), 40 trials (")
    assert table.main([str(study), "--format", "csv"]) == 0
    rows = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert len(rows) == 40 and set(rows["device"]) <= {"simulated"} | {float("nan")}
    assert {"COMPLETE", "PRUNED", "INFEASIBLE"} <= set(rows["state"])
    page = tmp_path / "report.html"
    assert report_command.main([str(study), "--out", str(page)]) == 0
    assert "simulated phantom" in page.read_text()


def test_the_store_holds_every_trial_once(study: Path) -> None:
    records = read_records(Store(str(study)))
    assert [record.trial for record in records] == list(range(40))
    assert all(record.state.ended and record.started <= record.finished for record in records)


def test_a_violation_is_told_and_the_status_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study.simulation.study.violations", lambda records, spec: ["trial 0 has epochs [1, 1]"])
    assert simulate.main(["phantom", "--trials", "3", "--storage", str(tmp_path), "--set", "sampler=random"]) == 1
    out, err = capsys.readouterr()
    assert err == "violated: trial 0 has epochs [1, 1]\n" and "checked" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["phantoms"], "neither a bundled study nor a file"),
        (["phantom", "--curves", "nowhere"], "--curves nowhere: no study here"),
        (["phantom", "--curves", "nowhere.json"], "--curves nowhere.json: cannot be read"),
        (["phantom", "--name", "a/b"], "--name 'a/b': must be letters"),
        (["phantom", "--set", "budget=2h"], "simulated trials have a score and cost nothing"),
        (["phantom", "--set", TWO_OBJECTIVES], "simulated trials have a score and cost nothing"),
        (["phantom", "--set", "sampler=annealing"], "sampler: 'annealing' given"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert simulate.main([*arguments, "--storage", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and message in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["--lanes", "0"], ["--failures", "2"], ["--failures", "x"], ["--node-losses", "-1"]]
)
def test_a_wrong_number_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        simulate.main(["phantom", *arguments])
    assert caught.value.code == 2 and capsys.readouterr().err.count("\n") == 1


def test_a_study_that_exists_is_not_written_over(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate.main(["phantom", "--trials", "3", "--storage", str(study.parent), "--name", study.name]) == 2
    assert "a study of this name exists" in capsys.readouterr().err
    assert len(read_records(Store(str(study)))) == 40
