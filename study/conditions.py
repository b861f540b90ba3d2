"""Which choices an experiment of a study makes, and which of them only under a condition."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from seg import models
from seg.experiment import Experiment
from study.dimension import Dimension, Value, ends, fixed_value

if TYPE_CHECKING:
    from study.spec import Baseline, Spec

WHERE_TRAINED = ("encoder_lr", "encoder_frozen_epochs")
"""Choices that exist only where the encoder is trained."""
Choose = Callable[[str, Dimension], Value]
"""(name, dimension) -> one value of the dimension."""


def determine(spec: "Spec", choose: Choose) -> Experiment:
    """The experiment that `choose` leads to. It is asked for a dimension only where its condition holds:
    `encoder_lr` and `encoder_frozen_epochs` where the encoder is trained, a loss's parameters where that loss is
    chosen, `encoder_freeze` where the architecture has pretrained weights: frozen random ones are no choice to search
    for, only one to insist on.

    The seed is the study's for every trial, so that trials differ by their choices alone.
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
    """The first of its values, but of freezing False: an encoder that is not frozen makes `encoder_lr` exist."""
    return False if name == "encoder_freeze" and False in ends(dimension) else ends(dimension)[0]


def published(spec: "Spec", baseline: "Baseline") -> Experiment:
    """The experiment of a baseline. ValueError, naming the field, where it cannot be."""
    return Experiment.from_json({**_common(spec, baseline.model), **baseline.choices})


def by_field(spec: "Spec") -> dict[str, Dimension]:
    """Every dimension by its field of Experiment, the fixed ones too; a loss's parameters are in spec.losses.
    None where nothing is searched."""
    if spec.search is None:
        return {}
    found: dict[str, Dimension] = {"model": spec.search.model, "loss": tuple(spec.search.loss)}
    for name in type(spec.fixed).model_fields:
        searched, fixed = getattr(spec.search, name), getattr(spec.fixed, name)
        if searched is not None:
            found[name] = searched
        elif fixed is not None:
            found[name] = (fixed,)
    return found


def flat(spec: "Spec") -> dict[str, Dimension]:
    """Every dimension of which there is a choice, those that exist only under a condition too."""
    dimensions = by_field(spec)
    if dimensions.get("encoder_freeze") == (True,):
        dimensions = {name: of for name, of in dimensions.items() if name not in WHERE_TRAINED}
    for loss, parameters in spec.losses.items():
        dimensions |= {parameter(loss, name): of for name, of in parameters.items()}
    return {name: dimension for name, dimension in dimensions.items() if fixed_value(dimension) is None}


def at(spec: "Spec", values: Mapping[str, Value]) -> Experiment:
    """The experiment that has these of all dimensions of `flat`; what its conditions do not ask for is left out."""

    def look_up(name: str, dimension: Dimension) -> Value:
        fixed = fixed_value(dimension)
        return values[name] if fixed is None else fixed

    return determine(spec, look_up)


def parameter(loss: str, name: str) -> str:
    """Name of a loss's parameter in the search. With the loss in it, because two losses may both have an `alpha`
    with different ranges, which Optuna would take for one."""
    return f"loss_{loss}_{name}"


def _common(spec: "Spec", model: str) -> dict[str, object]:
    return {
        "dataset": spec.dataset,
        "image_size": spec.image_size,
        "epochs": spec.epochs,
        "seed": spec.seed,
        "encoder_weights": spec.encoder.weights if models.pretrained(model) else "none",
    }
