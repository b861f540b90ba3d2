"""A fair comparison of the values of one choice, of architectures for one: each gets as many trials, a search of its
own over all other choices, and early stopping among its own.

Scientific and nuisance hyperparameters: Godbole et al. 2023, "Deep Learning Tuning Playbook".
"""

from typing import TYPE_CHECKING

from seg import models
from study.conditions import by_field
from study.dimension import Range, Value

if TYPE_CHECKING:
    from study.spec import Spec


def comparable(spec: "Spec") -> dict[str, tuple[Value, ...]]:
    """The values of each choice that can be compared: a list of several, which every trial makes."""
    sometimes = {"encoder_lr", "encoder_frozen_epochs"}
    if not all(models.pretrained(model) for model in (spec.search.model if spec.search else ())):
        sometimes.add("encoder_freeze")  # a model without pretrained weights is not frozen
    return {
        name: dimension
        for name, dimension in by_field(spec).items()
        if not isinstance(dimension, Range) and len(dimension) > 1 and name not in sometimes
    }


def narrowed(spec: "Spec", value: Value) -> "Spec":
    """The study of this one value alone."""
    assert spec.search is not None and spec.compare is not None
    search = spec.search
    only = {str(value): search.loss[str(value)]} if spec.compare == "loss" else (value,)
    return spec.model_copy(update={"search": search.model_copy(update={spec.compare: only}), "compare": None})


def value_of(spec: "Spec", trial: int) -> Value:
    """Of a searched trial: they take turns, so that a study that ends early has been as fair as one that did not."""
    assert spec.compare is not None
    values = comparable(spec)[spec.compare]
    return values[(trial - len(spec.baselines)) % len(values)]
