"""A spec's YAML text, and the KEY=VALUE overrides of the command line, as plain dicts and lists."""

import copy
import re
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from study.spec_error import SpecError, shown

Raw = dict[str, Any]

SHORT_FORMS = {"finalists": "top"}
"""A section that may be a single value, and the key that this is the value of."""


class _Loader(yaml.SafeLoader):
    """YAML's plain values, with `1e-4` a number (YAML 1.1 wants `1.0e-4`) and no key given twice."""

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
    """Content of a YAML file of keys and values. SpecError, naming it `source`, where it is not one."""
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
    """A copy of `raw` with each `path.of.key=VALUE` set, VALUE being YAML; a list's items are 0, 1, ...

    Whether the keys exist in a spec is for its validation to say.
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
    """`step` as an index of `holder`."""
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
