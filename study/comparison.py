"""A fair comparison of the values of one choice, of architectures for one: each gets as many trials, a search of its
own over all other choices, and early stopping among its own.

Scientific and nuisance hyperparameters: Godbole et al. 2023, "Deep Learning Tuning Playbook".
"""

from typing import TYPE_CHECKING

from seg import models
from study.conditions import by_field, published
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


class Shares:
    """Whose each trial is, and which it is of the study of that value alone.

    Searched trials take turns, so that a study that ends early has been as fair as one that did not. A baseline may
    have a value that is not searched.
    """

    def __init__(self, spec: "Spec"):
        assert spec.compare is not None
        self._spec, self._compare = spec, spec.compare
        self._searched = comparable(spec)[spec.compare]
        self._baselines: list[Value] = [getattr(published(spec, one), spec.compare) for one in spec.baselines]
        self.values = tuple(dict.fromkeys([*self._searched, *self._baselines]))
        """Those that are searched, then those of baselines alone."""

    def value(self, trial: int) -> Value:
        first = len(self._baselines)
        return self._baselines[trial] if trial < first else self._searched[(trial - first) % len(self._searched)]

    def number(self, trial: int) -> int:
        """In the study of its value: baselines first, then one searched trial after the other."""
        first = len(self._baselines)
        if trial < first:
            return self._baselines[:trial].count(self._baselines[trial])
        return self._baselines.count(self.value(trial)) + (trial - first) // len(self._searched)

    def alone(self, value: Value) -> "Spec":
        """The study of this one value."""
        spec = self._spec
        assert spec.search is not None
        only = {str(value): spec.search.loss.get(str(value), {})} if self._compare == "loss" else (value,)
        own = tuple(one for one, of in zip(spec.baselines, self._baselines, strict=True) if of == value)
        searched = (spec.trials - len(spec.baselines)) // len(self._searched) if value in self._searched else 0
        search = spec.search.model_copy(update={self._compare: only})
        changes = {"search": search, "baselines": own, "trials": len(own) + searched, "compare": None}
        return spec.model_copy(update=changes)
