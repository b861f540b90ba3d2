"""What a spec may say, and its study is likely to mislead by: said before it starts."""

import math
from collections.abc import Iterator

from seg.experiment import Experiment
from seg.schedules import WARM_UP
from study.conditions import by_field
from study.dimension import ends
from study.records import RECIPE
from study.spec import Spec


def caveats(spec: Spec) -> Iterator[str]:
    """One line each: what, why, what to do."""
    yield from _judged_while_warming_up(spec)


def _judged_while_warming_up(spec: Spec) -> Iterator[str]:
    """Of schedules, one that begins with small rates is behind early on, and may be the best in the end."""
    searched = ends(by_field(spec).get("schedule", (Experiment.schedule,))) if spec.search else ()
    # Published configurations keep theirs: nobody is told to change them. The recipe is never judged.
    others = (baseline for baseline in spec.baselines if not baseline.system and baseline.name != RECIPE)
    schedules = {*searched, *(baseline.schedule for baseline in others)}
    until, first = math.ceil(WARM_UP * spec.epochs), spec.early_stopping.min_epochs
    mixed = "one_cycle" in schedules and len(schedules) > 1
    if mixed and spec.early_stopping.scheduler != "none" and first <= until < spec.epochs:
        yield (
            f"one_cycle's rates rise until epoch {until}: trials with it that are judged at epoch {first} look worse "
            f"than they end; give all one schedule, or set early_stopping.min_epochs={until + 1}"
        )
