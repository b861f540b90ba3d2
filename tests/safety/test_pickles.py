"""Nothing that a file holds is run: no pickle is opened, in a study or elsewhere."""

import ast
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from readers import READERS

PROJECT = Path(__file__).parents[2]
PICKLES = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
ALLOWED = {
    (
        "seg/models/weights.py",
        "imports pickle",
    ): "only to name the error of a file that torch.load(weights_only=True) refuses",
    ("study/spec/load.py", "yaml.load"): "its loader is a SafeLoader",
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
