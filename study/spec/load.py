"""Loading of a checked Spec from a YAML file, the command line and study.json."""

import copy
import re
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from study.spec import checks
from study.spec.errors import SpecError, did_you_mean, from_pydantic, refusal, shown
from study.spec.spec import Spec

Raw = dict[str, Any]

SHORT_FORMS = {"finalists": "top"}
"""Sections that may be given as a single value, and the key that takes this value."""


class _Loader(yaml.SafeLoader):
    """A loader of plain YAML that reads `1e-4` as a number (YAML 1.1 wants `1.0e-4`) and refuses repeated keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value} is given twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def read(path: Path, source: str) -> Raw:
    """Return the content of a YAML file of keys and values. Raises SpecError, naming `source`, if it is not one."""
    try:
        raw = parse(path.read_bytes())
    except OSError as error:
        raise SpecError(source, "", f"cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise SpecError(source, "", _first_line(error)) from error
    if not isinstance(raw, dict):
        raise SpecError(source, "", f"{shown(raw)} given; a spec is a file of keys and values (YAML)")
    return raw


def parse(text: str | bytes) -> Any:
    return yaml.load(text, Loader=_Loader)


def override(raw: Mapping[str, Any], assignments: Sequence[str], source: str) -> Raw:
    """Return a copy of `raw` with each `path.of.key=VALUE` set. VALUE is YAML; a list's items are 0, 1, ...

    The keys need not exist in a spec: its validation checks that.
    """
    changed = copy.deepcopy(dict(raw))
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not (path.strip() and equals):
            raise SpecError(source, "", f"override {assignment!r}: must be KEY=VALUE, as in epochs=3")
        try:
            value = parse(text)
        except yaml.YAMLError as error:
            raise SpecError(source, path.strip(), f"{text!r} given; {_first_line(error)}") from error
        _assign(changed, path.strip().split("."), value, source)
    return changed


def _assign(holder: Any, steps: Sequence[str], value: Any, source: str) -> None:
    for depth, step in enumerate(steps):
        place: Any = _place(holder, step, steps[:depth], source)
        if depth == len(steps) - 1:
            holder[place] = value
        elif isinstance(holder, dict) and holder.get(place) is None:
            holder[place] = {}
        elif depth == 0 and step in SHORT_FORMS and not isinstance(holder[place], dict):
            holder[place] = {SHORT_FORMS[step]: holder[place]}
        holder = holder[place]


def _place(holder: Any, step: str, above: Sequence[str], source: str) -> str | int:
    """Return `step` as a key or an index of `holder`."""
    if isinstance(holder, dict):
        return step
    if not isinstance(holder, list):
        raise SpecError(source, ".".join(above), f"holds {shown(holder)}, which has no key {step}")
    if not (step.isdigit() and int(step) < len(holder)):
        raise SpecError(source, ".".join(above), f"holds a list of {len(holder)}, which has no item {step}")
    return int(step)


def _first_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"line {mark.line + 1}: not valid YAML: {problem}" if mark else f"not valid YAML: {problem}"


SPECS = Path(__file__).parents[1] / "specs"


def load_spec(name_or_path: str, overrides: Sequence[str] = ()) -> Spec:
    """Load a bundled spec by its name, or a YAML file by its path, with `path.of.key=VALUE` overrides applied.

    Raises SpecError, in one line, if there is no such spec, or if it or an override is invalid.
    """
    path, source = Path(name_or_path), name_or_path
    if name_or_path in _bundled_names():
        path, source = SPECS / f"{name_or_path}.yaml", f"{name_or_path}.yaml"
    elif path.is_dir():
        raise SpecError(source, "", f"is a folder; to study the images in it: folder --data {name_or_path}")
    elif not path.is_file():
        names = _bundled_names()
        advice = f"{did_you_mean(name_or_path, names)} (bundled: {', '.join(names)})"
        raise SpecError(source, "", f"neither a bundled study nor a file{advice}")
    raw = read(path, source)
    raw |= {"baselines": _borrowed(raw.get("baselines"), source)}
    return from_json(_as_many_baselines_as_trials(override(raw, overrides, source)), (), source)


def _borrowed(baselines: Any, source: str) -> Any:
    """Replace each name of a bundled spec by that spec's baselines: a published configuration is written only once."""
    if not isinstance(baselines, list):
        return baselines or []
    found: list[Any] = []
    for place, item in enumerate(baselines):
        if not isinstance(item, str):
            found.append(item)
        elif item in (names := _bundled_names()):
            found += read(SPECS / f"{item}.yaml", item).get("baselines", [])
        else:
            problem = f"{item!r} is no bundled study{did_you_mean(item, names)}; give one, or a baseline's choices"
            raise SpecError(source, f"baselines.{place}", problem)
    return found


def bundled() -> dict[str, str]:
    """Return the description of each bundled spec by name."""
    return {name: str(read(SPECS / f"{name}.yaml", name)["description"]) for name in _bundled_names()}


def _bundled_names() -> list[str]:
    """Return the bundled names, sorted. In a folder, a spec's name includes the folder: `published/r1-frozen`."""
    return sorted(path.relative_to(SPECS).with_suffix("").as_posix() for path in SPECS.rglob("*.yaml"))


def _as_many_baselines_as_trials(raw: Raw) -> Raw:
    """Keep only the first baselines if there are fewer trials than baselines: with one trial, the recipe."""
    trials = raw.get("trials")
    fewer = isinstance(trials, int) and isinstance(raw["baselines"], list) and 0 < trials < len(raw["baselines"])
    return raw | {"baselines": raw["baselines"][:trials]} if fewer else raw


def from_json(raw: Mapping[str, Any], overrides: Sequence[str] = (), source: str = "study.json") -> Spec:
    """Return the Spec of Spec.to_json's output, with `path.of.key=VALUE` overrides applied.

    Raises SpecError, naming `source`, if it is invalid.
    """
    try:
        spec = Spec.model_validate(override(raw, overrides, source))
        if problems := checks.problems(spec):
            raise refusal(problems)
    except ValidationError as error:
        raise from_pydantic(error, source, Spec) from error
    return spec
