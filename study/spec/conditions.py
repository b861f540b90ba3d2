"""The choices that an experiment of a study makes, and the conditions under which some of them exist."""

from collections.abc import Callable, Mapping

from seg import models
from seg.experiment import Experiment
from seg.options import HYPERPARAMETERS, TRAINED
from study.spec.dimension import Dimension, Range, Value, ends, fixed_value
from study.spec.spec import SEARCHED, Baseline, Spec

WHERE_TRAINED = tuple(name for name, of in HYPERPARAMETERS.items() if of.where == TRAINED)
Choose = Callable[[str, Dimension], Value]
"""A function that takes (name, dimension) and returns one value of the dimension."""


def determine(spec: Spec, choose: Choose) -> Experiment:
    """Return the experiment that `choose` leads to, asking it for a dimension only if its condition holds.

    `encoder_lr` and `encoder_frozen_epochs` need a trained encoder, and a loss's parameters need that loss.
    `encoder_freeze` needs an architecture with pretrained weights. Frozen random weights are not worth a search: they
    are used only if the spec allows nothing else.

    Every trial has the study's seed, so that trials differ only by their choices.
    """
    dimensions = by_field(spec)
    trained = {name: dimensions.pop(name) for name in WHERE_TRAINED if name in dimensions}
    freeze = dimensions.pop("encoder_freeze", None)
    fields = {name: choose(name, dimension) for name, dimension in dimensions.items()}
    if freeze is not None:
        insisted = False not in ends(freeze)
        asked = insisted or models.pretrained(str(fields["model"]))
        fields["encoder_freeze"] = choose("encoder_freeze", freeze) if asked else False
    if not fields.get("encoder_freeze", Experiment.encoder_freeze):
        fields |= {name: choose(name, dimension) for name, dimension in trained.items()}
    loss = str(fields["loss"])
    parameters = {name: choose(parameter(loss, name), of) for name, of in spec.losses[loss].items()}
    return Experiment.from_json({**_common(spec, str(fields["model"])), **fields, "loss_parameters": parameters})


def first(name: str, dimension: Dimension) -> Value:
    """Return the dimension's first value, but False for `encoder_freeze` if allowed: it makes `encoder_lr` exist."""
    return False if name == "encoder_freeze" and False in ends(dimension) else ends(dimension)[0]


def published(spec: Spec, baseline: Baseline) -> Experiment:
    """Return the experiment of a baseline. Raises ValueError, naming the field, if it is not valid."""
    return Experiment.from_json({**_common(spec, baseline.model), **baseline.choices})


def by_field(spec: Spec) -> dict[str, Dimension]:
    """Return every dimension by its field of Experiment, including the fixed ones. Empty if nothing is searched.

    A loss's parameters are in spec.losses instead.
    """
    if spec.search is None:
        return {}
    found: dict[str, Dimension] = {"model": spec.search.model, "loss": tuple(spec.search.loss)}
    for name in SEARCHED:
        searched, fixed = getattr(spec.search, name), getattr(spec.fixed, name)
        if searched is not None:
            found[name] = searched
        elif fixed is not None:
            found[name] = (fixed,)
    return found


def flat(spec: Spec) -> dict[str, Dimension]:
    """Return every dimension that leaves a choice, including those that exist only under a condition."""
    dimensions = by_field(spec)
    if dimensions.get("encoder_freeze") == (True,):
        dimensions = {name: of for name, of in dimensions.items() if name not in WHERE_TRAINED}
    for loss, parameters in spec.losses.items():
        dimensions |= {parameter(loss, name): of for name, of in parameters.items()}
    return {name: dimension for name, dimension in dimensions.items() if fixed_value(dimension) is None}


def at(spec: Spec, values: Mapping[str, Value]) -> Experiment:
    """Return the experiment with these values of all dimensions of `flat`, ignoring those whose condition fails."""

    def look_up(name: str, dimension: Dimension) -> Value:
        fixed = fixed_value(dimension)
        return values[name] if fixed is None else fixed

    return determine(spec, look_up)


def parameter(loss: str, name: str) -> str:
    """Return the name of a loss's parameter in the search.

    It contains the loss, because two losses may both have an `alpha` with different ranges. Optuna would treat them as
    one parameter.
    """
    return f"loss_{loss}_{name}"


def _common(spec: Spec, model: str) -> dict[str, object]:
    return {
        "dataset": spec.dataset,
        "image_size": spec.image_size,
        "epochs": spec.epochs,
        "seed": spec.seed,
        "encoder_weights": spec.encoder.weights if models.pretrained(model) else "none",
    }


def comparable(spec: Spec) -> dict[str, tuple[Value, ...]]:
    """Return the values of each choice that can be compared: every trial makes it, from a list of several."""
    sometimes = {*WHERE_TRAINED}
    if not all(models.pretrained(model) for model in (spec.search.model if spec.search else ())):
        sometimes.add("encoder_freeze")  # a model without pretrained weights is not frozen
    return {
        name: dimension
        for name, dimension in by_field(spec).items()
        if not isinstance(dimension, Range) and len(dimension) > 1 and name not in sometimes
    }
