"""Which file may import which: seg runs without Ray, analysis without torch, and inside each of the three packages
imports run one way.

Every import of every file counts: inside functions, under TYPE_CHECKING, relative, and by a name in a string.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Rule:
    never: frozenset[str]
    only: dict[str, frozenset[str]]
    """Of these top-level packages, these modules and no others."""

    def allows(self, module: str) -> bool:
        top = module.split(".")[0]
        if top in self.only:
            return any(module == one or module.startswith(f"{one}.") for one in self.only[top])
        return top not in self.never


RULES = {
    "seg": Rule(frozenset({"ray", "optuna", "plotly", "study", "analysis"}), {}),
    "study": Rule(frozenset({"plotly", "analysis"}), {}),
    "analysis": Rule(
        frozenset({"ray", "torch", "torchvision", "segmentation_models_pytorch"}),
        {"seg": frozenset({"seg.cli", "seg.options"}), "study": frozenset({"study.ranking", "study.store"})},
    ),
}


STREETS: dict[str, list[list[str]]] = {
    "seg": [
        ["predict", "recode"],
        ["checkpoint"],
        ["loop"],
        ["evaluate"],
        ["batches"],
        ["device", "optim"],
        ["pack", "losses", "metrics", "experiment"],
        ["data", "augment", "models"],
        ["options", "picture", "ranks"],
        ["cli"],
        ["errors"],
    ],
    "study": [
        ["run", "ls", "check", "retry", "replay", "simulate", "tune_lanes", "ensemble", "export", "spot_notice"],
        ["driver"],
        ["lanes", "simulation"],
        ["trials", "mirror"],
        ["search"],
        ["spec"],
        ["ranking", "exports"],
        ["store"],
    ],
    "analysis": [
        ["serve", "results"],
        ["report"],
        ["published"],
        ["finalists", "rosetta"],
        ["figures", "table"],
        ["hyperparameters"],
        ["scores"],
        ["load"],
        ["ranking"],
        ["columns"],
    ],
}
"""The sub-packages and modules of each package, in layers.

A file imports from its own sub-package and from the layers below it, never from its neighbours or from above.
"""


def violations(project: Path) -> list[str]:
    """`file:line: imports module` for every import that the rule of its folder forbids."""
    found = []
    for folder, rule in RULES.items():
        for path in sorted((project / folder).rglob("*.py")):
            place = path.relative_to(project)
            for line, module in imports(path.read_text(), package=place.parent.parts):
                if not rule.allows(module):
                    found.append(f"{place}:{line}: imports {module}")
    return found


def imports(source: str, package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Line and absolute name of everything imported. `package`: the folders of the file, outermost first."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                yield from ((node.lineno, absolute(package, level, module, alias.name)) for alias in names)
            case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__")):
                yield from _named_in_string(node, package)


def _named_in_string(call: ast.Call, package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    match call.args[:1] or [keyword.value for keyword in call.keywords if keyword.arg == "name"]:
        case [ast.Constant(value=str(name))]:
            bare = name.lstrip(".")
            yield call.lineno, absolute(package, len(name) - len(bare), bare)


def absolute(package: tuple[str, ...], level: int, *names: str | None) -> str:
    """`level` as Python counts the leading dots: 0 absolute, 1 this package, 2 the one above."""
    start = package[: len(package) - level + 1] if level else ()
    return ".".join([*start, *filter(None, names)])


def test_every_folder_imports_what_it_may() -> None:
    assert violations(PROJECT) == []


def files(package: str) -> dict[str, Path]:
    """Module name -> file, of every module of a package."""
    found = {}
    for path in sorted((PROJECT / package).rglob("*.py")):
        parts = path.relative_to(PROJECT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(package: str) -> dict[str, set[str]]:
    """Module name -> the modules of the same package that it imports."""
    known = files(package)
    graph: dict[str, set[str]] = {}
    for module, path in known.items():
        names = {name for _, name in imports(path.read_text(), path.relative_to(PROJECT).parent.parts)}
        graph[module] = {near for name in names if (near := _nearest(name, known)) not in (None, module)}
    return graph


def _nearest(name: str, known: dict[str, Path]) -> str | None:
    """The module that `name` is, or is defined in."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or None


def upward(package: str, graph: dict[str, set[str]]) -> list[str]:
    layer = {street: depth for depth, streets in enumerate(STREETS[package]) for street in streets}
    found = []
    for module, others in graph.items():
        for other in others:
            one, two = (name.split(".")[1] if "." in name else "" for name in (module, other))
            if one and two and one != two and layer[two] <= layer[one]:
                found.append(f"{module} imports {other}")
    return found


def circles(graph: dict[str, set[str]]) -> list[str]:
    """The modules that import each other, by way of others or directly."""
    left = {module: set(others) for module, others in graph.items()}
    while free := [module for module, others in left.items() if not others & left.keys()]:
        for module in free:
            del left[module]
    return sorted(left)


@pytest.mark.parametrize("package", STREETS)
def test_imports_run_one_way(package: str) -> None:
    assert upward(package, imported(package)) == []


@pytest.mark.parametrize("package", STREETS)
def test_no_files_import_each_other(package: str) -> None:
    """An `__init__` of names for others stands for its modules: it may import them, and they not it."""
    graph = imported(package)
    assert circles(graph) == []


@pytest.mark.parametrize("package", STREETS)
def test_every_street_has_its_layer(package: str) -> None:
    streets = {module.split(".")[1] for module in files(package) if "." in module}
    assert streets == {street for layer in STREETS[package] for street in layer}


@pytest.mark.parametrize("package", STREETS)
def test_every_sub_package_says_what_it_is_for(package: str) -> None:
    for path in (PROJECT / package).rglob("__init__.py"):
        if path.parent != PROJECT / package:
            doc = ast.get_docstring(ast.parse(path.read_text()))
            assert doc, f"{path.relative_to(PROJECT)}: says nothing"


def test_an_upward_import_and_a_circle_are_found() -> None:
    graph = {"study.store.store": {"study.search.space"}, "study.search.space": {"study.spec.spec"}}
    assert upward("study", graph) == ["study.store.store imports study.search.space"]
    assert circles(graph | {"study.spec.spec": {"study.store.store"}}) == sorted({*graph, "study.spec.spec"})
    assert upward("study", {"study.ranking.objective": {"study.exports.source"}}), "a neighbour"


def test_the_rules_are_about_something() -> None:
    for folder in RULES:
        assert list((PROJECT / folder).rglob("*.py")), f"{folder}/ holds no Python"


def test_clusters_holds_declarations_only() -> None:
    assert list((PROJECT / "clusters").rglob("*.py")) == []


FORBIDDEN = [
    ("seg/loop.py", "import ray", "ray"),
    ("seg/loop.py", "import torch, optuna.samplers as s", "optuna.samplers"),
    ("seg/models/unet.py", "from ray.train import report", "ray.train.report"),
    ("seg/data/deep.py", "def f():\n    from study import store", "study.store"),
    ("seg/loop.py", "if TYPE_CHECKING:\n    from analysis.table import rows", "analysis.table.rows"),
    ("seg/loop.py", "importlib.import_module('ray.tune')", "ray.tune"),
    ("seg/loop.py", "import_module(name='plotly')", "plotly"),
    ("seg/loop.py", "__import__('ray')", "ray"),
    ("study/run.py", "from analysis import report", "analysis.report"),
    ("study/run.py", "try:\n    import plotly.express\nexcept ImportError:\n    pass", "plotly.express"),
    ("analysis/load.py", "from torch import Tensor", "torch.Tensor"),
    ("analysis/load.py", "from study.search import space", "study.search.space"),
    ("analysis/load.py", "import study", "study"),
    ("analysis/load.py", "from study.trials.recorder import now", "study.trials.recorder.now"),
    ("analysis/load.py", "from seg.metrics import iou", "seg.metrics.iou"),
    ("analysis/load.py", "from .. import seg", "seg"),
]


@pytest.mark.parametrize(("place", "source", "module"), FORBIDDEN)
def test_a_forbidden_import_is_found(tmp_path: Path, place: str, source: str, module: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_text(source)
    (found,) = violations(tmp_path)
    assert found.startswith(f"{place}:")
    assert found.endswith(f": imports {module}")


ALLOWED = [
    ("seg/loop.py", "import torch\nfrom torchvision.transforms import v2\nimport rayleigh"),
    ("seg/models/unet.py", "from . import blocks\nfrom ..losses import bce\nfrom seg.study_like import ray"),
    ("study/run.py", "import ray, optuna\nfrom seg import loop\nfrom study import store"),
    (
        "analysis/load.py",
        "import pandas, plotly\nfrom study.store.records import Record\nfrom study.store import records",
    ),
    ("analysis/load.py", "import_module(name)\nimport_module('.figures', 'analysis')"),
]


@pytest.mark.parametrize(("place", "source"), ALLOWED)
def test_an_allowed_import_is_let_through(tmp_path: Path, place: str, source: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_text(source)
    assert violations(tmp_path) == []


@pytest.mark.parametrize(
    ("folder", "absent"), [("seg", ("ray", "optuna", "plotly")), ("analysis", ("ray", "optuna", "torch"))]
)
def test_nothing_forbidden_comes_in_by_a_detour(folder: str, absent: tuple[str, ...]) -> None:
    """Import every module of a folder in a fresh Python: a library may not come in through a third module either."""
    files = [path.relative_to(PROJECT).with_suffix("") for path in sorted((PROJECT / folder).rglob("*.py"))]
    modules = [".".join(path.parts) for path in files if path.stem != "__main__" and "notebooks" not in path.parts]
    code = f"import importlib, sys\nfor m in {modules!r}: importlib.import_module(m)\n"
    code += f"print(*[name for name in {absent!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []
