"""One dimension of the search space: a list of choices, or a range of numbers."""

import math
from decimal import Decimal
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from study.spec.errors import shown

Value = str | bool | int | float


class Strict(BaseModel):
    """An immutable model that refuses unknown keys and does not convert types silently."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Range(Strict):
    """A range of numbers from `low` to `high`, both included."""

    low: float
    high: float
    log: bool = False
    """Whether values are uniform in the logarithm, as suits a learning rate."""
    step: float | None = Field(default=None, gt=0)
    """The distance between two values. None: continuous, or every whole number."""
    integer: bool = Field(default=False, alias="int")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}; low must be below high")
        if self.log and self.low <= 0:
            raise ValueError(f"low {self.low:g} with log: true; low must be above 0")
        if self.log and self.step is not None:
            raise ValueError(f"step {self.step:g} with log: true; leave one of them out")
        if self.integer and not all(number.is_integer() for number in (self.low, self.high, self.step or 1.0)):
            raise ValueError("fractions given; low, high and step of a range of whole numbers must be whole")
        # Otherwise Optuna would silently lower `high`. Decimal, because 1.0 % 0.1 is not 0 in binary.
        if self.step is not None and (Decimal(str(self.high)) - Decimal(str(self.low))) % Decimal(str(self.step)):
            raise ValueError(f"step {self.step:g} does not lead from low {self.low:g} to high {self.high:g} exactly")
        return self

    def __contains__(self, value: float) -> bool:
        if not self.low <= value <= self.high:
            return False
        step = self.step or (1.0 if self.integer else None)
        if step is None:
            return True
        steps = (value - self.low) / step
        return math.isclose(steps, round(steps), rel_tol=0, abs_tol=1e-8)

    def __str__(self) -> str:
        kind = ["whole numbers"] if self.integer else []
        scale = ["log scale"] if self.log else []
        steps = [f"step {self.step:g}"] if self.step else []
        return ", ".join([f"{self.low:g} to {self.high:g}", *kind, *scale, *steps])


Dimension = tuple[Value, ...] | Range


def fixed_value(dimension: Dimension) -> Value | None:
    """Return the value of a dimension that holds only one, or None if there is a choice."""
    return None if isinstance(dimension, Range) or len(dimension) > 1 else dimension[0]


def ends(dimension: Dimension) -> tuple[Value, ...]:
    """Return the values that must be allowed for the whole dimension to be allowed."""
    if not isinstance(dimension, Range):
        return dimension
    return tuple(int(end) if dimension.integer else end for end in (dimension.low, dimension.high))


def from_unit(dimension: Dimension, place: float) -> Value:
    """Return the value at `place` in [0, 1], evenly spread over the choices, or over the range on its scale."""
    place = min(place, math.nextafter(1, 0))
    if not isinstance(dimension, Range):
        return dimension[int(place * len(dimension))]
    low, high = dimension.low, dimension.high
    if (steps := _steps(dimension)) is not None:
        value = low + int(place * (steps + 1)) * _step(dimension)
        return int(value) if dimension.integer else min(value, high)
    if dimension.log:
        value = min(max(low * (high / low) ** place, low), high)
        return round(value) if dimension.integer else value
    return low + (high - low) * place


def to_unit(dimension: Dimension, value: Value) -> float:
    """Return the middle of the places at which from_unit returns this value."""
    if not isinstance(dimension, Range):
        return (dimension.index(value) + 0.5) / len(dimension)
    low, high, number = dimension.low, dimension.high, float(value)
    if low == high:
        return 0.5
    if (steps := _steps(dimension)) is not None:
        return (round((number - low) / _step(dimension)) + 0.5) / (steps + 1)
    if dimension.log:
        return math.log(number / low) / math.log(high / low)
    return (number - low) / (high - low)


def _step(dimension: Range) -> float:
    return dimension.step or 1.0


def _steps(dimension: Range) -> int | None:
    """Return the number of steps, or None for a continuous range and for whole numbers on a log scale."""
    if dimension.log or not (dimension.step or dimension.integer):
        return None
    return round((dimension.high - dimension.low) / _step(dimension))


def _several(value: object) -> object:
    """Return a single value as a list of one."""
    return value if isinstance(value, (list, tuple, dict, Range)) else [value]


def _distinct(values: tuple[Value, ...]) -> tuple[Value, ...]:
    if not values:
        raise ValueError("an empty list given; must hold at least one choice")
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{shown(value)} is given {values.count(value)} times; each choice must be given once")
    return values


def _whole(value: object) -> object:
    return {"int": True} | value if isinstance(value, dict) else value


def _form(value: object) -> str:
    return "range" if isinstance(value, (dict, Range)) else "choices"


def _must_be_whole(value: Dimension) -> Dimension:
    if isinstance(value, Range) and not value.integer:
        raise ValueError("int: false given; must be a range of whole numbers")
    return value


# YAML's list becomes a tuple; its items stay strict.
_list = (AfterValidator(_distinct), Field(strict=False))

Names = Annotated[tuple[str, ...], BeforeValidator(_several), *_list]
Flags = Annotated[tuple[bool, ...], BeforeValidator(_several), *_list]
Numbers = Annotated[
    Annotated[tuple[float, ...], *_list, Tag("choices")] | Annotated[Range, Tag("range")],
    Discriminator(_form),
    BeforeValidator(_several),
]
Counts = Annotated[
    Annotated[tuple[int, ...], *_list, Tag("choices")] | Annotated[Range, Tag("range")],
    Discriminator(_form),
    BeforeValidator(_several),
    BeforeValidator(_whole),
    AfterValidator(_must_be_whole),
]
