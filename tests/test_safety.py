"""What a stranger's file, name or text may not do, and what nobody's file may hold."""

import ast
import html.parser
import json
import os
import pickle
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analysis import published, report, rosetta, table
from seg import pack, predict
from seg.data.folder import load as load_folder
from study import export, ls, replay, run, session
from study.names import LONGEST, file_part, is_file_name, is_study_name, study_name
from study.plan import Plan
from study.preparation import Prepared
from study.records import FormatError, State, read_records, write_record
from study.resources import Allotment, Cluster, Machine
from study.spec import load_spec
from study.store import Store, StoreError

PROJECT = Path(__file__).parents[1]
STUDY = PROJECT / "tests" / "assets" / "studies" / "names-of-their-own"


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

    monkeypatch.setattr("study.preparation.prepare", refuse)
    monkeypatch.setattr("ray.init", refuse)


READERS: dict[str, Callable[[str, Path], Any]] = {
    "study.ls": lambda study, out: ls.main([study]),
    "analysis.table": lambda study, out: table.main([study]),
    "analysis.table --epochs": lambda study, out: table.main([study, "--epochs", "--format", "json"]),
    "analysis.rosetta": lambda study, out: rosetta.main([study]),
    "analysis.published": lambda study, out: published.main([study]),
    "analysis.report": lambda study, out: report.main([study, "--out", str(out / "report.html")]),
    "study.export --to csv": lambda study, out: export.main([study, "--to", "csv", "--out", str(out / "c")]),
    "study.export --to tensorboard": lambda study, out: export.main(
        [study, "--to", "tensorboard", "--out", str(out / "t")]
    ),
    "study.export --to mlflow": lambda study, out: export.main([study, "--to", "mlflow", "--out", str(out / "m")]),
    "study.replay": lambda study, out: replay.main([study, "0", "--data", str(out / "data")]),
    "seg.predict": lambda study, out: predict.main([study, str(photo(out / "a.png")), "--out", str(out / "p")]),
}
"""Every command that reads a study; each gives its exit status."""


def photo(path: Path) -> Path:
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(path)
    return path


# Nothing is unpickled

PICKLES = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
ALLOWED = {
    ("seg/weights.py", "imports pickle"): "only to name the error of a file that torch.load(weights_only=True) refuses",
    ("study/spec_file.py", "yaml.load"): "its loader is a SafeLoader",
}


class Unsafe(ast.NodeVisitor):
    """Collects what could run code that a file holds."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def visit_Import(self, node: ast.Import) -> None:
        self.found += [f"imports {alias.name}" for alias in node.names if alias.name.split(".")[0] in PICKLES]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if (node.module or "").split(".")[0] in PICKLES:
            self.found.append(f"imports {node.module}")
        self.found += [f"imports {alias.name}" for alias in node.names if alias.name in ("read_pickle", "unsafe_load")]

    def visit_Call(self, node: ast.Call) -> None:
        said = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
        match ast.unparse(node.func).split("."):
            case ["eval" | "exec" | "compile" | "__import__"] as name:
                self.found.append(name[0])
            case ["torch", "load"] if said.get("weights_only") is not True:
                self.found.append("torch.load")
            case [*_, "np" | "numpy", "load"] if said.get("allow_pickle", False) is not False:
                self.found.append("np.load")
            case [*_, "yaml", "load" | "load_all" | "unsafe_load" | "full_load" as name]:
                self.found.append(f"yaml.{name}")
            case [*_, "read_pickle" | "unsafe_load" | "system" as name]:
                self.found.append(name)
            case _ if said.get("shell") is True:
                self.found.append("shell=True")
        self.generic_visit(node)


def unsafe(source: str) -> list[str]:
    visitor = Unsafe()
    visitor.visit(ast.parse(source))
    return visitor.found


def sources() -> Iterator[Path]:
    for folder in ("seg", "study", "analysis"):
        yield from sorted((PROJECT / folder).rglob("*.py"))


def test_no_module_runs_what_a_file_holds() -> None:
    found = {(str(path.relative_to(PROJECT)), what) for path in sources() for what in unsafe(path.read_text())}
    assert found == set(ALLOWED)


UNSAFE = [
    "import pickle",
    "from cloudpickle import loads",
    "def f():\n    import joblib as j",
    "torch.load(path)",
    "torch.load(path, weights_only=False)",
    "torch.load(path, weights_only=flag)",
    "np.load(path, allow_pickle=True)",
    "numpy.load(path, allow_pickle=flag)",
    "yaml.load(text, Loader=yaml.Loader)",
    "eval(text)",
    "x = [exec(line) for line in lines]",
    "pd.read_pickle(path)",
    "subprocess.run(line, shell=True)",
    "os.system(line)",
]


@pytest.mark.parametrize("source", UNSAFE)
def test_the_walk_finds(source: str) -> None:
    assert len(unsafe(source)) == 1


@pytest.mark.parametrize(
    "source", ["torch.load(p, weights_only=True)", "np.load(p, mmap_mode='r')", "yaml.safe_load(t)", "model.eval()"]
)
def test_the_walk_lets_through(source: str) -> None:
    assert unsafe(source) == []


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path):
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._path),)


def test_the_trap_works(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("replaced", ["nothing", "*.parquet", "*.png", "record.json", "study.json"])
def test_pickles_in_a_study_are_not_opened(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, replaced: str
) -> None:
    """They lie beside its files, and in place of some of them: then that is said in a line."""
    evil = pickle.dumps(Trap(tmp_path / "sprung"))
    for path in [*study.rglob("*/"), study]:
        for name in ("searcher-state.pkl", "experiment_state.pkl", "best.pt", "array.npy", ".validate_storage_marker"):
            (path / name).write_bytes(evil)
    (study / "best.safetensors").write_bytes(evil)
    for path in study.rglob(replaced):
        path.write_bytes(evil)
    status = READERS[command](str(study), tmp_path)
    assert not (tmp_path / "sprung").exists()
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert status in (0, 2) and len(errors) == (status == 2)


# Secrets

PASSWORD, KEY, SIGNATURE = "hush+hush/hush", "very/Secret+Key0123456789", "5ca1ab1e5ca1ab1e"
PLANTED = f"https://me:{PASSWORD}@host/x?X-Amz-Signature={SIGNATURE} with {KEY}"


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)


def leaks(text: str) -> list[str]:
    return [secret for secret in (PASSWORD, KEY, SIGNATURE) if secret in text]


def test_no_secret_in_a_record(study: Path, key: None) -> None:
    store = Store(str(study))
    (record, *_) = read_records(store)
    record.state, record.reason, record.traceback = State.FAILED, PLANTED, f"Traceback\n{PLANTED}"
    record.extra |= {"attempts": [{"reason": PLANTED, "traceback": PLANTED, "epochs": []}]}
    write_record(store, record)
    text = (study / "trials/00000/record.json").read_text()
    assert leaks(text) == [] and text.count("https://me:***@host/x?X-Amz-Signature=*** with ***") == 4


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    from seg import data

    whole = data.load("phantom", Path("nowhere"))
    few = data.Dataset(whole.name, whole.samples[:10], whole.class_names, whole.remark, whole.synthetic)
    packed = pack.build(few, 32, tmp_path_factory.mktemp("packs"), progress=False)
    places = Path(f"/mnt/token={SIGNATURE}"), Path(f"s3://me:{PASSWORD}@weights")
    return Prepared(*places, packed, Cluster((Machine(2, 0),)), Allotment(1, 1, 0.0, 2))


def test_no_secret_in_study_json(
    tmp_path: Path, prepared: Prepared, key: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--storage", f"s3://me:{PASSWORD}@b", f"--optuna-storage=postgresql://me:{PASSWORD}@h/d", "--set", KEY]
    monkeypatch.setattr(sys, "argv", ["run", "phantom", *words])
    store = Store(str(tmp_path / "study"))
    session.begin(Plan("study", load_spec("phantom"), store, run._typed(), prepared), store)
    study = store.read_json("study.json")
    assert leaks(json.dumps(study)) == []
    assert study["command"] == (
        "python -m study.run phantom --storage 's3://me:***@b' '--optuna-storage=postgresql://me:***@h/d' --set '***'"
    )
    assert study["places"] == {"data": "/mnt/token=***", "weights": "s3:/me:***@weights"}


@pytest.mark.parametrize("command", READERS)
def test_no_secret_leaves_a_study_that_holds_some(
    study: Path, tmp_path: Path, key: None, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    """An earlier version's records hold what errors said, word for word."""
    for path in study.rglob("record.json"):
        record = json.loads(path.read_text())
        failed = {"state": "FAILED", "reason": PLANTED, "traceback": PLANTED} if record["trial"] == 3 else {}
        path.write_text(json.dumps(record | failed))
    info = json.loads((study / "study.json").read_text())
    (study / "study.json").write_text(json.dumps(info | {"command": f"python -m study.run {PLANTED}"}))
    READERS[command](str(study), tmp_path)
    printed = capfd.readouterr()
    assert leaks(printed.out + printed.err) == []
    written = [path for path in tmp_path.rglob("*") if path.is_file() and study not in path.parents]
    assert [path for path in written if leaks(path.read_bytes().decode("latin-1"))] == []


@pytest.mark.parametrize("command", READERS)
def test_no_secret_in_an_error(
    tmp_path: Path, key: None, capsys: pytest.CaptureFixture[str], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address of no study, with a password and a key in it."""
    monkeypatch.chdir(tmp_path)
    for address in (f"file:///nowhere/token={SIGNATURE}/{KEY}", f"nosuch://me:{PASSWORD}@host/{KEY}"):
        assert READERS[command](address, tmp_path) == 2
        error = capsys.readouterr().err
        assert leaks(error) == [] and error.startswith("error: ") and error.count("\n") == 1


def status_of(arguments: list[str]) -> object:
    try:
        return run.main(arguments)
    except SystemExit as ended:
        return ended.code


def test_no_secret_in_study_runs_errors(tmp_path: Path, key: None, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = [
        ["phantom", "--storage", f"nosuch://me:{PASSWORD}@host"],
        ["phantom", "--storage", f"x://me:{PASSWORD}@host"],
        ["phantom", "--resume", "--name", "a", "--storage", f"file:///nowhere/{KEY}"],
        ["phantom", "--name", f"token={SIGNATURE}/{KEY}"],
        ["phantom", "--set", f"token={SIGNATURE}"],
        [f"https://me:{PASSWORD}@host/spec.yaml"],
        ["phantom", f"--optuna-storage=x://me:{PASSWORD}@host/{KEY}", "--storage", str(tmp_path)],
        ["phantom", f"https://me:{PASSWORD}@host"],
    ]
    for arguments in wrong:
        assert status_of(arguments) == 2
        error = capsys.readouterr().err
        assert leaks(error) == [] and error.startswith("error: ") and error.count("\n") == 1, arguments


def test_no_secret_in_the_line_that_resumes(key: None) -> None:
    given = run.parser().parse_args(["phantom", "--storage", f"s3://me:{PASSWORD}@b", "--weights", KEY])
    assert leaks(run._resume_line(given, "name")) == []


def test_no_secret_in_what_a_store_says(tmp_path: Path, key: None) -> None:
    said: list[str] = []
    store = Store(f"{tmp_path}/token={SIGNATURE}/{KEY}", 2.0, said.append)
    store._in_trouble(OSError(f"no route to s3://me:{PASSWORD}@host with {KEY}"), 1)
    store._out_of_trouble(1.0)
    with pytest.raises(StoreError) as caught, store.reached():
        raise OSError(f"no route to s3://me:{PASSWORD}@host with {KEY}")
    assert len(said) == 2 and leaks(f"{caught.value} {said}") == []


# Names


@pytest.mark.parametrize("name", ["a", "isic-20260101-120000", "A.b_c-9", "-x", "a" * LONGEST])
def test_names_of_studies(name: str) -> None:
    assert is_study_name(name) and is_file_name(name) and study_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".a", "a b", "a/b", "../a", "a\\b", "a\n", "a\0", "ä", "a:b", "a" * (LONGEST + 1), "a*", "~"],
)
def test_no_names_of_studies(name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert not is_study_name(name)
    assert run.main(["phantom", "--name", name, "--storage", str(tmp_path / "s"), "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --name ") and error.count("\n") == 1 and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stem", ["my spec (1)", "../up", ".hidden", "ä" * 300, "a" * 300])
def test_a_specs_file_may_be_called_anything(stem: str) -> None:
    assert is_study_name(study_name(f"{stem}-20260101-120000"))


ELSEWHERE = ["../evil", "..", ".", "", "/etc/passwd", "a/b", "a\\b", "a\n", "a\0b", 7, None]


@pytest.mark.parametrize("name", ELSEWHERE)
def test_no_names_of_files(name: object) -> None:
    assert not is_file_name(name)


def change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize("file", ELSEWHERE)
def test_a_record_that_names_a_file_elsewhere_is_refused(
    study: Path, file: object, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    change(study / "trials/00001/record.json", files={"val_counts": file})
    with pytest.raises(FormatError, match=r"trials/00001/record.json: names a file outside its folder"):
        read_records(Store(str(study)))
    READERS_OF_1 = READERS | {"study.replay": lambda study, out: replay.main([study, "1"])}
    for command in set(READERS) - {"seg.predict"}:
        assert READERS_OF_1[command](str(study), tmp_path) == 2, command
        error = capsys.readouterr().err
        assert "names a file outside its folder" in error and error.count("\n") == 1


@pytest.mark.parametrize("trial", ["../../evil", 2, "1", 1.0, True, None, -1])
def test_a_record_of_another_trial_is_refused(study: Path, trial: object) -> None:
    change(study / "trials/00001/record.json", trial=trial)
    with pytest.raises(FormatError, match=r"trials/00001/record.json: says it is of trial"):
        read_records(Store(str(study)))


@pytest.mark.parametrize(
    "content",
    [b"[]", b"7", b"{}", b"\xff", b'{"format": 1}', b'{"format": 1, "state": "x"}', b'{"format": 1, "files": 7}'],
)
def test_what_is_no_record_is_refused(study: Path, content: bytes) -> None:
    (study / "trials/00001/record.json").write_bytes(content)
    with pytest.raises(FormatError, match=r"trials/00001/record.json: .*; (restore|read)"):
        read_records(Store(str(study)))


@pytest.mark.parametrize("file", ["../study.json", "/etc/passwd", "..", "a\\b", 7])
def test_a_gallery_that_names_a_file_elsewhere_is_refused(
    study: Path, file: object, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = json.loads((study / "gallery/gallery.json").read_text())
    listed["images"][0]["file"] = file
    (study / "gallery/gallery.json").write_text(json.dumps(listed))
    assert report.main([str(study)]) == 2
    error = capsys.readouterr().err
    assert "gallery.json: names a file outside its folder" in error and error.count("\n") == 1
    assert not (study / "report.html").exists()


@pytest.mark.parametrize("id", ["../../evil", "a/b", "a\\b", "<script>", "a b", "x" * 300, "ä"])
def test_an_images_id_makes_a_plain_file_in_the_gallery(id: str) -> None:
    assert is_file_name(f"00001-worst-0-{file_part(id)}.png")
    assert len(f"00001-worst-0-{file_part(id)}.png") < 200


def test_an_id_in_splits_csv_leads_nowhere(tmp_path: Path) -> None:
    from seg.data.sample import DataError

    for kind in ("images", "masks"):
        (tmp_path / "data" / kind).mkdir(parents=True)
        for name in "abcd":
            Image.fromarray(np.full((4, 4), 255, np.uint8)).save(tmp_path / "data" / kind / f"{name}.png")
    (tmp_path / "data" / "splits.csv").write_text("id,split\n../masks/a,train\n")
    with pytest.raises(DataError, match=r"line 2: '../masks/a' is no image in images/"):
        load_folder(tmp_path / "data")


# Text in the report

MARK = "31337"
HOSTILE = f"</script><script>alert({MARK})</script><img src=x onerror=alert({MARK})>\"'><b onclick='alert({MARK})'>"


class Page(html.parser.HTMLParser):
    """What of a page would run: scripts that begin as ours do not, and attributes that are handlers."""

    def __init__(self, text: str):
        super().__init__()
        self.ran: list[str] = []
        self._script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._script = tag == "script"
        self.ran += [f"{tag} {name}" for name, value in attributes if name.startswith("on")]
        self.ran += [f"{tag} {value}" for name, value in attributes if (value or "").startswith("javascript:")]

    def handle_endtag(self, tag: str) -> None:
        self._script = False

    def handle_data(self, data: str) -> None:
        if self._script and data.lstrip().startswith("alert("):
            self.ran.append(data)


def test_the_page_reader_finds() -> None:
    assert len(Page(HOSTILE).ran) == 3


def test_text_from_records_is_shown_and_not_run(study: Path) -> None:
    change_all(study)
    assert report.main([str(study)]) == 0
    page = (study / "report.html").read_text()
    assert Page(page).ran == []
    assert page.count("&lt;script&gt;alert") >= 5, "it is not shown at all"


def change_all(study: Path) -> None:
    """Every text that a person could have chosen."""
    path = study / "study.json"
    info = json.loads(path.read_text())
    named = {"name": f"phantom{HOSTILE}", "remark": HOSTILE, "class_names": [f"a{HOSTILE}", f"b{HOSTILE}"]}
    info["dataset"] |= named
    info["spec"] |= {"description": HOSTILE, "baselines": [{"name": HOSTILE, "published": {"iou": 0.5}}]}
    path.write_text(json.dumps(info | {"name": HOSTILE, "command": HOSTILE, "software": {HOSTILE: HOSTILE}}))
    for record_path in study.rglob("record.json"):
        record = json.loads(record_path.read_text())
        texts = {"id": HOSTILE, "reason": HOSTILE, "traceback": HOSTILE, "source": HOSTILE, "device": HOSTILE}
        record["experiment"] |= {"model": HOSTILE, "loss": HOSTILE, "augment": HOSTILE, "dataset": HOSTILE}
        record_path.write_text(json.dumps(record | texts))
    listed = json.loads((study / "gallery/gallery.json").read_text())
    ids = {image["id"] for image in listed["images"]}
    listed["images"] = [image | {"id": HOSTILE + image["id"]} for image in listed["images"]]
    (study / "gallery/gallery.json").write_text(json.dumps(listed))
    for counts in study.rglob("*counts*.parquet"):
        found = pd.read_parquet(counts)
        found["id"] = [HOSTILE + id if id in ids else id for id in found["id"]]
        found.to_parquet(counts, index=False)
