"""Errors of a spec, as one line: `<file>: <path.of.key>: what was given, what is allowed`."""

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from seg.errors import UserError

BRANCHES = ("choices", "range", "one", "several")
"""Steps that pydantic adds to a path if a value may take one of two forms. They are not keys of the file."""

EXPECTED = {
    "string_type": "must be a text",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be finite",
    "dict_type": "must be keys and values",
    "model_type": "must be keys and values",
    "tuple_type": "must be a list",
    "literal_error": "choose from {expected}",
    "too_short": "must have at least {min_length}",
    "string_too_short": "must not be empty",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
}


class SpecError(UserError):
    """A spec that cannot be used.

    The message is one line: which file, which key, what was given, what is allowed; then the same for each further
    problem.
    """

    def __init__(self, source: str, path: str, problem: str, more: Sequence[tuple[str, str]] = ()):
        """Write the message. `more` holds the path and the problem of each further error."""
        all_of_them = [(path, problem), *more]
        super().__init__(f"{source}: " + "; ".join(f"{at}: {what}" if at else what for at, what in all_of_them))


def refusal(problems: Sequence[tuple[str, str]]) -> ValidationError:
    """Return (path of the key, problem) pairs as a ValidationError, to be raised beside pydantic's own checks."""
    return ValidationError.from_exception_data("Spec", [_detail(path, problem) for path, problem in problems])


def _detail(path: str, problem: str) -> InitErrorDetails:
    custom = PydanticCustomError("spec", "{problem}", {"problem": problem})
    return InitErrorDetails(type=custom, loc=_steps(path), input=None)


def from_pydantic(error: ValidationError, source: str, model: type[BaseModel]) -> SpecError:
    """Return pydantic's error as a SpecError, unknown keys first: a missing key may only be misspelt."""
    details = sorted(error.errors(), key=lambda detail: detail["type"] != "extra_forbidden")
    lines: dict[str, str] = {}
    for detail in details:
        lines.setdefault(_path(detail), _problem(detail, model))
    meant = set(_meant(details, model))
    kept = [(path, line) for path, line in lines.items() if not (path in meant and line.startswith("missing"))]
    (path, problem), *more = kept
    return SpecError(source, path, problem, more)


def did_you_mean(word: str, allowed: Sequence[str]) -> str:
    """Return `; did you mean ...?`, or an empty string if no allowed word is close."""
    close = difflib.get_close_matches(word, allowed, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def shown(value: object) -> str:
    """Return a value as a YAML file has it: true, not True."""
    return "nothing" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)


def _steps(path: str) -> tuple[int | str, ...]:
    return tuple(int(step) if step.isdigit() else step for step in path.split("."))


def _path(detail: ErrorDetails) -> str:
    steps = [step for step in detail["loc"] if step not in BRANCHES]
    if steps[0] == "search":
        # Drop the index of a choice: the problem shows the choice, and a single value is not a list in the file.
        steps = [step for step in steps if not isinstance(step, int)]
    return ".".join(map(str, steps))


def _problem(detail: ErrorDetails, model: type[BaseModel]) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        allowed = _keys(model, detail["loc"][:-1])
        key = str(detail["loc"][-1])
        hint = did_you_mean(key, allowed) or _belongs(key, model)
        return f"unknown key{hint} (allowed: {', '.join(allowed)})"
    if kind == "missing":
        return "missing"
    if kind in ("spec", "value_error"):
        return str(context.get("problem") or context["error"])
    expected = EXPECTED[kind].format(**context) if kind in EXPECTED else detail["msg"]
    return f"{shown(detail['input'])} given; {expected}"


def _belongs(key: str, model: type[BaseModel]) -> str:
    """Return `; it belongs in search` or the like, or an empty string if no other place has that key."""
    if key in _keys(model, ()):
        return "; it stands on its own, outside of all sections"
    places = [name for name in _keys(model, ()) if key in _keys(model, (name,))]
    return f"; it belongs in {' or '.join(places)}" if places else ""


def _meant(details: Sequence[ErrorDetails], model: type[BaseModel]) -> Iterator[str]:
    """Yield the paths of the allowed keys that unknown ones look like."""
    for detail in details:
        if detail["type"] == "extra_forbidden":
            close = difflib.get_close_matches(str(detail["loc"][-1]), _keys(model, detail["loc"][:-1]), n=1)
            yield from (".".join(map(str, (*detail["loc"][:-1], word))) for word in close)


def _keys(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """Return the keys that are allowed at `location` below `model`."""
    for step in location:
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        if step in fields:
            model = next(_models(fields[str(step)].annotation), model)
    return [field.alias or name for name, field in model.model_fields.items()]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
