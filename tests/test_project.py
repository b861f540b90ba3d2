"""README, Makefile and dependencies say what is so."""

import ast
import dataclasses
import importlib.util
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import debian
import namespaced_host
import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from seg.experiment import Experiment
from seg.options import DEFAULTS, HYPERPARAMETERS, LOSS_PARAMETERS, Hyperparameter

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text()
MAKEFILE = (PROJECT / "Makefile").read_text()
CONSTRAINTS = (PROJECT / "constraints.txt").read_text()
PACKAGE = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
EXTRAS = PACKAGE["optional-dependencies"]
SPECS = sorted(
    path.relative_to(PROJECT / "study" / "specs").with_suffix("").as_posix()
    for path in (PROJECT / "study" / "specs").rglob("*.yaml")
)
MODULES = sorted(
    str(path.relative_to(PROJECT))
    for folder in ("seg", "study", "analysis")
    for path in (PROJECT / folder).rglob("*.py")
    if path.read_text().strip()
)
OPTIONAL = ("test", "samplers", "dashboard", "export")
DIRECT = [
    Requirement(line) for line in [*PACKAGE["dependencies"], *(line for name in OPTIONAL for line in EXTRAS[name])]
]


def pins() -> dict[str, Version]:
    lines = [line for line in CONSTRAINTS.splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in (line.split("==") for line in lines)}


def tree() -> list[str]:
    """Paths in README's tree: what is indented lies in the folder above."""
    block = README.split("## The tree")[1].split("```")[1]
    root, found = "", []
    for line in block.splitlines()[1:]:
        name = line.split()[0]
        if not line.startswith(" "):
            root = name
        found.append(name if name == root else root + name)
    return found


@pytest.mark.parametrize("module", sorted(set(re.findall(r"python -m ([\w.]+)", README))))
def test_readme_names_modules_that_exist(module: str) -> None:
    assert importlib.util.find_spec(module), f"python -m {module}"


def test_readme_names_make_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
    named = set(re.findall(r"`make ([a-z]+)`", README)) | set(re.findall(r"^ *make ([a-z]+)", README, re.MULTILINE))
    assert {"study", "test", "bench"} <= named <= targets


def test_readme_lists_every_bundled_spec() -> None:
    rows = re.findall(r"^\| (`[^|]+`) \|", README.split("## The studies")[1].split("\n## ")[0], re.MULTILINE)
    listed = re.findall(r"`([\w/-]+)`", " ".join(rows))
    assert sorted(listed) == SPECS


def test_readme_tree_names_every_sub_package() -> None:
    packages = {path.parent.relative_to(PROJECT) for name in MODULES for path in [PROJECT / name]}
    assert {f"{path}/" for path in packages if len(path.parts) < 3} <= {name for name in tree()}


def test_readme_tree_names_nothing_that_is_not_there() -> None:
    assert [name for name in tree() if not (PROJECT / name).exists()] == []


def module_map() -> str:
    """docs/map.md: every module with the first sentence of its docstring, a table a sub-package."""
    lines = ["# The map", "", "Made from the modules' docstrings by `python tests/test_project.py`."]
    folders = sorted({str(Path(name).parent) for name in MODULES}, key=lambda folder: (folder.split("/")[0], folder))
    for folder in folders:
        names = [name for name in MODULES if str(Path(name).parent) == folder]
        here = [name for name in names if name.endswith("/__init__.py")]
        lines += ["", f"## {folder}/", "", *(first_sentence(name) for name in here), *([""] if here else [])]
        lines += ["| module | what it does |", "|---|---|"]
        lines += [f"| `{Path(name).name}` | {first_sentence(name)} |" for name in names if name not in here]
    return "\n".join(lines) + "\n"


def first_sentence(name: str) -> str:
    doc = ast.get_docstring(ast.parse((PROJECT / name).read_text())) or ""
    return " ".join(doc.split("\n\n")[0].split())


def test_the_map_is_of_today() -> None:
    assert (PROJECT / "docs" / "map.md").read_text() == module_map(), "run: python tests/test_project.py"


def hyperparameter_tables() -> str:
    """docs/hyperparameters.md: what a spec may have under `search` and `fixed`, and the parameters of the losses."""
    defaults = {field.name: field.default for field in dataclasses.fields(Experiment)}
    searched = [name for name, of in HYPERPARAMETERS.items() if of.searched]
    of_losses = [(loss, name, value) for loss, parameters in DEFAULTS.items() for name, value in parameters.items()]
    return "\n".join(
        [
            "# The hyperparameters",
            "",
            "Made from seg/options.py by `python tests/test_project.py`. A spec has them under `search`, as lists or",
            "as ranges (`low`, `high`, `log`), or under `fixed`, as one value.",
            "",
            "| name | values | default | what it is |",
            "|---|---|---|---|",
            *(row(name, HYPERPARAMETERS[name], in_yaml(defaults[name])) for name in searched),
            "",
            "A loss's parameters are below it: `search: {loss: {focal_tversky: {alpha: {low: 0.3, high: 0.8}}}}`.",
            "",
            "| loss and parameter | values | default | what it is |",
            "|---|---|---|---|",
            *(row(f"{loss}: {name}", LOSS_PARAMETERS[name], f"{value:g}") for loss, name, value in of_losses),
            "",
        ]
    )


def row(name: str, of: Hyperparameter, default: str) -> str:
    condition = f" It exists where {of.where}." if of.where else ""
    return f"| `{name}` | {of.allowed} | {default} | {of.meaning}{condition} |"


def in_yaml(value: object) -> str:
    return "to be given" if value in (None, dataclasses.MISSING) else str(value).lower()


def test_the_table_of_hyperparameters_is_of_today() -> None:
    text = (PROJECT / "docs" / "hyperparameters.md").read_text()
    assert text == hyperparameter_tables(), "run: python tests/test_project.py"


def docstrings() -> Iterator[tuple[str, str]]:
    """Place and text of every docstring, those below constants and fields included."""
    for name in MODULES:
        for node in ast.walk(ast.parse((PROJECT / name).read_text())):
            match node:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield f"{name}:{node.lineno}", " ".join(text.split())


ODD = re.compile(r"^(Of|But|Such|So many|So much|As many) |\b(whoever|nobody|who is|who are|who has|who have)\b", re.I)
"""Words of sentences that are read twice: fragments, and trials that are called "who"."""


def test_docstrings_are_sentences() -> None:
    assert [f"{place}: {text[:60]}" for place, text in docstrings() if ODD.search(text)] == []


def test_an_odd_docstring_is_found() -> None:
    assert ODD.search("Of one value.") and ODD.search("Those who have ended.") and not ODD.search("The score of one.")


def test_readme_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)", README)
    assert [target for target in targets if "://" not in target and not (PROJECT / target).exists()] == []


@pytest.mark.parametrize("requirement", DIRECT, ids=lambda requirement: requirement.name)
def test_every_direct_dependency_is_pinned_within_its_bounds(requirement: Requirement) -> None:
    assert pins()[canonicalize_name(requirement.name)] in requirement.specifier


@pytest.mark.parametrize("requirement", [Requirement(line) for line in PACKAGE["dependencies"]], ids=lambda r: r.name)
def test_every_runtime_dependency_has_two_bounds(requirement: Requirement) -> None:
    operators = {bound.operator for bound in requirement.specifier}
    assert operators in ({">=", "<"}, {"=="})


def test_constraints_are_versions_only() -> None:
    """No index, address, path or local build tag: they hold on any machine."""
    strange = [line for line in CONSTRAINTS.splitlines() if not re.fullmatch(r"#.*|[\w.-]+==[\w.]+", line)]
    assert strange == []


def test_every_python_that_is_accepted_is_a_classifier_and_named_by_make() -> None:
    accepted = [f"3.{minor}" for minor in range(30) if f"3.{minor}" in SpecifierSet(PACKAGE["requires-python"])]
    named = re.search(r"Python (3\.[\d., or]+) is needed", MAKEFILE)
    assert re.findall(r":: (3\.\d+)", " ".join(PACKAGE["classifiers"])) == accepted
    assert named and re.findall(r"3\.\d+", named[1]) == accepted
    (low, below) = re.findall(r"\(3, (\d+)\)", MAKEFILE)
    assert [f"3.{minor}" for minor in range(int(low), int(below))] == accepted


def test_the_zoo_extra_can_still_be_asked_for() -> None:
    assert EXTRAS["zoo"] == [] and any(
        line.startswith("segmentation-models-pytorch") for line in PACKAGE["dependencies"]
    )


def test_every_debian_package_that_a_test_skips_without_is_in_apt_txt() -> None:
    lines = (PROJECT / "apt.txt").read_text().splitlines()
    packages = {line for line in lines if not line.startswith("#")}
    assert packages == {"chromium", "postgresql", *namespaced_host.PACKAGES}


def test_one_line_adds_up_what_was_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda program: f"/usr/bin/{program}")
    chromium, both = debian.not_installed("chromium"), debian.not_installed("rsync", "chromium")
    assert debian.left_out([chromium, both, debian.NEEDS_ROOT, "no GPU here"]) == (
        "left out: 4 tests; 2 need chromium, rsync (`make apt` installs them), 1 need root (`sudo make test`), "
        "1 for the reasons above"
    )
    monkeypatch.setattr("shutil.which", lambda program: None)
    assert debian.left_out([chromium]) == "left out: 1 test; 1 need chromium (Debian's names; this system has others)"


@pytest.mark.parametrize("file", ["Makefile", ".ci/apt", ".ci/run", ".github/workflows/ci.yml", "pyproject.toml"])
def test_set_up_names_no_package_index(file: str) -> None:
    """Packages come from whatever index the user's own pip is set up with."""
    assert not re.search(r"index-url|find-links|trusted-host|https?://", (PROJECT / file).read_text())


if __name__ == "__main__":
    (PROJECT / "docs" / "map.md").write_text(module_map())
    (PROJECT / "docs" / "hyperparameters.md").write_text(hyperparameter_tables())
