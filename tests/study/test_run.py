"""The command line up to where Ray would start: whatever is wrong is one line on stderr and exit status 2."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seg.errors import UserError
from seg.models import MODELS
from study import run
from study.driver import start
from study.lanes import cluster
from study.lanes.resources import Cluster, Machine
from study.spec import bundled, load_spec
from study.store import Store

SCRATCH = ("--set", "encoder.weights=none")
"""Encoders from scratch: no weights are looked for."""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("study.driver.preparation.this_machine", lambda: Cluster((Machine(cpus=2, gpus=0),)))


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("Ray was about to start")

    monkeypatch.setattr(cluster.ray, "init", refuse)


Refused = Callable[..., str]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """refused(*arguments): the one line with which the command refuses, without `error: `."""

    def call(*arguments: object) -> str:
        try:
            status = run.main([str(a) for a in arguments])
        except SystemExit as ended:
            status = int(str(ended.code))
        assert status == 2
        out, err = capsys.readouterr()
        lines = [line for line in err.splitlines() if not line.startswith(("hashing", "packing", "packed", "reading"))]
        said = [line for line in out.splitlines() if not line.startswith("timing ")]
        assert said == [] and len(lines) == 1 and lines[0].startswith("error: "), out + err
        return lines[0].removeprefix("error: ")

    return call


# The command line itself


def test_list_shows_every_bundled_study(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(bundled())
    assert all(len(line.split()) > 3 for line in lines)


def test_no_spec(refused: Refused) -> None:
    assert refused() == "SPEC: name a study or a YAML file; --list shows the bundled studies"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("phantom", "--epochs", "many"), "argument --epochs: invalid int value: 'many'; "),
        (("phantom", "--epoch", "3"), "unrecognized arguments: --epoch 3; "),
        (("phantom", "--gpus-per-worker", "one"), "argument --gpus-per-worker: invalid float value: 'one'; "),
        (("phantom", "isic"), "unrecognized arguments: isic; "),
        (("phantom", "--name"), "argument --name: expected one argument; "),
    ],
)
def test_wrong_flags(refused: Refused, arguments: tuple[str, ...], message: str) -> None:
    assert refused(*arguments) == f"{message}python -m study.run --help shows what may be given"


@pytest.mark.parametrize("name", ["", "a/b", "../up", ".hidden", "a\\b"])
def test_a_name_is_one_folder(refused: Refused, name: str) -> None:
    assert refused("phantom", "--name", name).startswith(f"--name {name!r}: ")


def test_a_crash_is_no_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr(start, "load_spec", crash)
    with pytest.raises(RuntimeError, match="a bug of ours"):
        run.main(["phantom"])


def test_interrupted_before_the_study_has_begun(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("study.driver.preparation.prepare", interrupt)
    assert run.main(["phantom"]) == 130
    assert capsys.readouterr().err.strip() == "interrupted"


# The spec


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("phantm",), "phantm: neither a bundled study nor a file; did you mean phantom?"),
        (("no/such.yaml",), "no/such.yaml: neither a bundled study nor a file"),
        (("phantom", "--set", "epoch=3"), "phantom.yaml: epoch: unknown key; did you mean epochs?"),
        (("phantom", "--set", "epochs"), "phantom.yaml: override 'epochs': must be KEY=VALUE, as in epochs=3"),
        (
            ("phantom", "--set", "search.model=unet9"),
            f"phantom.yaml: search.model: 'unet9' is not known; choose from {', '.join(MODELS)}",
        ),
        (("phantom", "--set", "search.loss=hinge"), "phantom.yaml: search.loss: 'hinge' is not known; choose from bce"),
        (
            ("phantom", "--set", "search.decoder_lr={low: 0.01, high: 0.001, log: true}"),
            "phantom.yaml: search.decoder_lr: low 0.01 is above high 0.001; low must be below high",
        ),
        (("phantom", "--trials", 0), "phantom.yaml: trials: 0 given; must be at least 1"),
        (("phantom", "--image-size", 70), "phantom.yaml: image_size: 70 given; must be a multiple of 32, at least 64"),
        (
            ("phantom", "--lanes", 0),
            "phantom.yaml: resources.lanes: 0 given; must be auto, in-process or",
        ),
        (
            ("phantom", "--gpus-per-worker", -1),
            "phantom.yaml: resources.gpus_per_worker: -1.0 given; must be at least 0",
        ),
    ],
)
def test_bad_specs(refused: Refused, arguments: tuple[object, ...], message: str) -> None:
    assert refused(*arguments).startswith(message)


def test_flags_win_over_set(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(
        "study.driver.dry_run.show", lambda spec, *_: print(spec.trials, spec.epochs, spec.resources.lanes)
    )
    assert (
        run.main(["phantom", "--dry-run", "--set", "trials=3", "--trials", "4", "--epochs", "8", "--lanes", "2"]) == 0
    )
    assert capsys.readouterr().out == "4 8 2\n"


# Names and storage


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """A study that has begun, with all that --resume looks at."""
    folder = tmp_path / "studies" / "mine"
    spec = load_spec("phantom", ["trials=4", "epochs=5"])
    Store(str(folder)).write_json("study.json", {"format": 1, "spec": spec.to_json()})
    return folder


def test_an_existing_name(refused: Refused, begun: Path) -> None:
    message = f"{begun}: a study of this name exists; take another --name, or go on with it: --resume"
    assert refused("phantom", "--name", "mine") == message


def test_resume_of_nothing(refused: Refused, tmp_path: Path) -> None:
    message = f"{tmp_path}/studies/none: no study here to resume; check --storage and --name"
    assert refused("phantom", "--resume", "--name", "none") == message


def test_resume_without_a_name(refused: Refused) -> None:
    assert refused("phantom", "--resume") == "--resume: name the study to go on with: --name NAME"


@pytest.mark.parametrize(
    "arguments", [("--epochs", 9), ("--set", "trials=9"), ("--image-size", 64), ("--seed", 0), ("--set", "seed=1")]
)
def test_a_study_that_has_begun_keeps_its_spec(refused: Refused, begun: Path, arguments: tuple[object, ...]) -> None:
    message = (
        f"{arguments[0]} cannot be combined with --resume: a study's spec is fixed once it has started, "
        "so that its trials stay comparable; leave it out"
    )
    assert refused("phantom", "--resume", "--name", "mine", *arguments) == message


def test_resume_takes_the_stored_spec_and_what_may_change(
    begun: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "study.driver.dry_run.show", lambda spec, *_: print(spec.trials, spec.epochs, spec.resources.lanes)
    )
    arguments = ["phantom", "--resume", "--name", "mine", "--dry-run"]
    assert run.main(arguments) == 0
    assert run.main([*arguments, "--trials", "7", "--lanes", "2"]) == 0
    assert capsys.readouterr().out == "4 5 auto\n7 5 2\n"


def test_a_storage_of_no_known_kind(refused: Refused) -> None:
    message = "tape://reel/x: cannot be used (Protocol not known: tape); give a folder or s3://bucket/prefix"
    assert refused("phantom", "--storage", "tape://reel", "--name", "x") == message


def test_a_storage_below_a_file(refused: Refused, tmp_path: Path, tiny_isic: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    arguments = ("--data", tiny_isic, "--image-size", 64, "--storage", "file", "--name", "x")
    message = refused("isic", *arguments, *SCRATCH)
    assert message.startswith(f"{tmp_path}/file/x: cannot be used (") and message.endswith(
        "check the address and its permissions"
    )


# Resources


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--lanes", 99), "--lanes 99: does not fit: there are 2 CPU cores and no GPUs, room for 2 lanes of 1 worker"),
        (("--workers-per-trial", 3), "--workers-per-trial 3: a trial needs 3 CPU cores and no GPUs, but there are 2"),
    ],
)
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_what_does_not_fit(refused: Refused, dry: tuple[str, ...], arguments: tuple[object, ...], message: str) -> None:
    assert refused("phantom", *arguments, *dry).startswith(message)


# Data and weights


def test_a_missing_data_folder(refused: Refused, tmp_path: Path) -> None:
    """A user's own data cannot be downloaded."""
    for dry in ([], ["--dry-run"]):
        message = refused("folder", "--data", "nowhere", *SCRATCH, *dry)
        assert message == "no such folder: nowhere; --data names the one that has your images"
    assert not (tmp_path / "studies").exists() and not (tmp_path / "nowhere").exists()


def test_a_dry_run_without_the_data_says_what_it_can(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever would be downloaded by the study itself; nothing is, nor made."""
    assert run.main(["isic", "--data", "nowhere", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    said = {line[:15].strip(): line[16:] for line in lines if line[:15].strip()}
    assert said["data"].startswith("not there yet; downloaded when the study starts (nowhere/isic2016: ")
    assert said["encoder weights"].endswith("mobilenet_v2.pth will be downloaded there")
    assert said["trials"].startswith("as many as the budget holds, first recipe, ")
    assert "R1 model 1 (frozen" in said["trials"]
    assert (said["epochs"], said["sampler"]) == ("chosen by the data", "gp")
    assert lines[-1] == "nothing was started; leave --dry-run out to start"
    assert list(tmp_path.iterdir()) == []


def part(data_dir: Path, folder: str) -> Path:
    return data_dir / "isic2016" / f"ISBI2016_ISIC_Part1_{folder}"


def isic(refused: Refused, data_dir: Path) -> str:
    """A study of one trial: that kind alone is timed for its plan."""
    return refused("recipe", "--set", "dataset=isic2016", "--data", data_dir, "--image-size", 64, *SCRATCH)


def test_an_image_without_a_mask(refused: Refused, tiny_isic: Path) -> None:
    (part(tiny_isic, "Training_GroundTruth") / "ISIC_Training_004_Segmentation.png").unlink()
    message = isic(refused, tiny_isic)
    assert "ISIC_Training_004.jpg: no mask ISIC_Training_004_Segmentation.png" in message


def test_an_empty_mask_folder(refused: Refused, tiny_isic: Path) -> None:
    for path in part(tiny_isic, "Test_GroundTruth").iterdir():
        path.unlink()
    assert "ISBI2016_ISIC_Part1_Test_GroundTruth: holds no image file" in isic(refused, tiny_isic)


def test_a_truncated_jpeg(refused: Refused, tiny_isic: Path) -> None:
    path = part(tiny_isic, "Training_Data") / "ISIC_Training_003.jpg"
    path.write_bytes(path.read_bytes()[:600])
    message = isic(refused, tiny_isic)
    assert message.startswith("1 of 13 images cannot be used: ") and f"{path}: cannot be read (" in message


def test_a_mask_of_another_size(refused: Refused, tiny_isic: Path) -> None:
    path = part(tiny_isic, "Training_GroundTruth") / "ISIC_Training_003_Segmentation.png"
    Image.fromarray(np.zeros((31, 40), np.uint8)).save(path)
    assert f"{path}: the mask is 40×31 pixels, its image ISIC_Training_003.jpg is 40×30" in isic(refused, tiny_isic)


def test_a_weights_file_of_something_else(refused: Refused, tiny_isic: Path) -> None:
    weights = tiny_isic / "weights"
    weights.mkdir()
    (weights / "mobilenet_v2.pth").write_bytes(b"<html>not found</html>")
    message = refused("isic", "--data", tiny_isic, "--image-size", 64)
    assert message.startswith(f"{weights}/mobilenet_v2.pth: cannot be read (")


def test_an_objective_that_nobody_measures(refused: Refused) -> None:
    message = refused("phantom", "--set", "objective.metric=val_iuo")
    assert message.startswith("spec: objective.metric: 'val_iuo' is not measured on phantom; did you mean val_iou? ")


def test_a_budget_that_cannot_be_kept(refused: Refused) -> None:
    assert refused("phantom", "--budget", "soon") == (
        "phantom.yaml: budget: 'soon' given; must be an amount and its unit, as in 90min, 2h, 40gpu-hours or 25usd"
    )
    assert refused("phantom", "--budget", "25usd", "--dry-run").startswith(
        "phantom.yaml: resources.price_per_hour: missing; must be given for a budget of 25usd"
    )
    assert refused("phantom", "--budget", "3gpu-hours", "--dry-run") == (
        "spec: budget: '3gpu-hours' given, but there is no GPU; give hours, as in 2h"
    )
    assert refused("phantom", "--set", "objective=[{metric: val_iou}, {metric: gpu_seconds, mode: min}]") == (
        "spec: objective.metric: 'gpu_seconds' is 0 for every trial where there is no GPU; use train_seconds"
    )


def test_a_study_that_has_begun_may_get_another_budget(
    begun: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("study.driver.dry_run.show", lambda spec, *_: print(spec.budget))
    stored = json.loads((begun / "study.json").read_text())
    stored["spec"]["budget"] = "2h"
    (begun / "study.json").write_text(json.dumps(stored))
    for more in ([], ["--budget", "3h"], ["--budget", "none"]):
        assert run.main(["phantom", "--resume", "--name", "mine", "--dry-run", *more]) == 0
    assert capsys.readouterr().out.split() == ["2h", "3h", "None"]


# What it costs, and what is handed on


def test_the_list_needs_no_torch() -> None:
    """Two seconds less for whoever only looks."""
    code = "import sys; from study import run; run.main(['--list']); print({'torch', 'ray'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "set()"


def test_the_line_that_resumes_can_be_typed(tmp_path: Path) -> None:
    typed = ["my spec.yaml", "--data", "d", "--storage", "s3://b/p", "--weights", "w", "--address", "host:1"]
    line = start._resume_line(run.parser().parse_args(typed), "n")
    assert line == (
        "python -m study.run 'my spec.yaml' --data d --storage s3://b/p --weights w --address host:1 --name n --resume"
    )


def test_a_stored_spec_from_elsewhere_is_checked(refused: Refused, begun: Path) -> None:
    stored = json.loads((begun / "study.json").read_text())
    stored["spec"]["epochs"] = 0
    (begun / "study.json").write_text(json.dumps(stored))
    assert refused("phantom", "--resume", "--name", "mine").startswith(f"{begun}/study.json: epochs: 0 given")


def test_resuming_on_other_data_is_refused(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "s"))
    store.write_json("study.json", {"format": 1, "dataset": {"pack": "one"}})
    start._check_same_data(store, "one")
    with pytest.raises(UserError, match="not those it began with"):
        start._check_same_data(store, "other")
