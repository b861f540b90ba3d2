"""Show the plan of a study without starting it or Ray: `python -m study.run SPEC --dry-run`."""

import shutil
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

from seg import data, models
from seg.cli import duration, plural
from seg.data import MissingData
from seg.errors import redact
from study.driver import planning
from study.driver.planning import Planned, Situation
from study.driver.preparation import check_costs, check_objective, situation, weights_folder
from study.lanes.resources import Cluster, allot
from study.search import replicates, space
from study.search.schedulers.scheduler import milestones
from study.spec import Spec, conditions
from study.spec.checks import caveats
from study.store import Store

TITLE = 16
"""The width of the first column, in characters."""


def show(
    spec: Spec, store: Store, data_dir: Path, weights_dir: Path | None, cluster: Cluster, elapsed_seconds: float = 0.0
) -> None:
    """Print trials, epochs, lanes, data, search space, and an estimated time.

    If the data is missing but would be downloaded, prints what is known without it. Raises ResourceError, SpecError,
    or DataError, as `prepare` would.
    """
    check_costs(spec, allot(spec, cluster))
    say = partial(print, file=sys.stderr, flush=True)
    began = time.monotonic()
    say("reading the data ...")
    lines = {"study": redact(store.uri)}
    warnings: tuple[str, ...] = ()
    try:
        dataset = data.load(spec.dataset, data_dir, download=False)
    except MissingData as error:
        if not data.downloadable(spec.dataset):
            raise
        lines |= {"data": f"not there yet; downloaded when the study starts ({error})"}
        planned = None
    else:
        check_objective(spec, dataset.classes)
        spent = elapsed_seconds + time.monotonic() - began
        at = situation(spec, dataset, cluster, spent, say)
        planned = planning.plan(spec, at)
        spec, warnings = planned.spec, dataset.warnings
        images = ", ".join(f"{count} {name}" for name, count in at.images.items())
        remark = f" ({dataset.remark})" if dataset.remark else ""
        lines |= {"data": f"{dataset.name}: {images} images{remark}"} | _plan(planned, at)
    lines |= {
        "encoder weights": weights_there(spec, weights_folder(data_dir, weights_dir)),
        "trials": _trials(spec, planned is not None),
        "epochs": f"{spec.epochs} a trial" if planned or "epochs" in spec.model_fields_set else "chosen by the data",
        "sampler": spec.sampler,
        "early stopping": _stopping(spec),
        "objective": _objectives(spec),
        "finalists": _finalists(spec),
        "machines": str(cluster),
        "lanes": str(allot(spec, cluster)),
    }
    if spec.compare:
        lines["compare"] = _shares(spec)
    for title, text in lines.items():
        _print(title, text)
    for place, line in enumerate(space.describe(spec)):
        _print("search space" if place == 0 else "", line)
    for line in (*warnings, *caveats(spec)):
        _print("warning", line)
    print("nothing was started; leave --dry-run out to start")


def _print(title: str, text: str) -> None:
    """Print a row of two columns. On a terminal, the text is wrapped to the terminal's width."""
    columns = max(shutil.get_terminal_size().columns - TITLE, 40) if sys.stdout.isatty() else len(text) + 1
    lines = textwrap.wrap(text, columns, break_long_words=False, break_on_hyphens=False) or [""]
    for place, line in enumerate(lines):
        print(f"{title if place == 0 else '':{TITLE - 1}s} {line}")


def _plan(planned: Planned, at: Situation) -> dict[str, str]:
    spec = planned.spec
    found = {"image size": f"{spec.image_size} px"}
    found |= dict(zip(("plan", "why"), planned.remarks, strict=False))
    found["estimated time"] = _estimate(planned, at)
    if planned.left_out:
        found["left out"] = f"{'; '.join(planned.left_out)}: does not fit the budget; --published runs it"
    return found


def _estimate(planned: Planned, at: Situation) -> str:
    """Return the estimated time of the whole study as text, from the typed command to the report."""
    seconds = planned.search_seconds + planning.start_seconds(at) + planned.reserved_seconds + at.elapsed_seconds
    if planned.spec.budget:
        return f"{duration(seconds)} at most of a budget of {planned.spec.budget}, timed on this machine"
    offer = "" if seconds < 600 else "; --budget 15min makes it fit into less"
    return f"about {duration(seconds)}, timed on this machine{offer}"


def weights_there(spec: Spec, folder: Path) -> str:
    """Describe which of the encoder weights files that trials will load are in `folder`."""
    files = {models.weights_file(name) for name in spec.models} - {None}
    if spec.encoder.weights == "none" or not files:
        return "none: trained from scratch"
    missing = sorted(str(name) for name in files if not (folder / str(name)).exists())
    found = f"{len(files) - len(missing)} of {len(files)} files in {folder}"
    return found + (f"; {', '.join(missing)} will be downloaded there" if missing else "")


def _trials(spec: Spec, planned: bool) -> str:
    again = f"; then up to {count} with other seeds" if (count := replicates.most(spec)) else ""
    names = [baseline.name for baseline in spec.baselines]
    first = f", first {', '.join(names)}" if names else ""
    number = f"{spec.trials}" if planned or "trials" in spec.model_fields_set else "as many as the budget holds"
    return f"{'up to ' if planned and spec.budget else ''}{number}{first}{again}"


def _objectives(spec: Spec) -> str:
    first, *others = [f"{objective.mode} {objective.metric}" for objective in spec.objectives]
    more = "".join(f", {other}" for other in others)
    return f"{first} on the validation split{more}" + ("; early stopping goes by the first alone" if more else "")


def _finalists(spec: Spec) -> str:
    which = " of the Pareto set" if len(spec.objectives) > 1 else ""
    which += f" of each {spec.compare}" if spec.compare else ""
    seeds = f"; each of the best with {spec.finalists.seeds} seeds" if replicates.most(spec) else ""
    return f"{spec.finalists.top}{which}, and finished baselines, on the sealed test split{seeds}"


def _shares(spec: Spec) -> str:
    values = conditions.comparable(spec)[str(spec.compare)]
    each = plural((spec.trials - len(spec.baselines)) / len(values), "searched trial")
    return f"{spec.compare}: {each} of each of {', '.join(map(str, values))}"


def _stopping(spec: Spec) -> str:
    stopping = spec.early_stopping
    rungs = ", ".join(map(str, milestones(stopping.min_epochs, stopping.reduction_factor, spec.epochs)))
    if not rungs and stopping.scheduler not in ("none", "median"):
        return f"{stopping.scheduler}: no rung before the last epoch, so no trial is stopped"
    texts = {
        "asha": f"at epoch {rungs} only the best 1/{stopping.reduction_factor} so far go on",
        "promoting_asha": f"trials pause at epoch {rungs}; the best 1/{stopping.reduction_factor} go on",
        "hyperband": f"brackets of promoting_asha, whose first rungs are at epoch {rungs}; one without any",
        "median": f"from epoch {stopping.min_epochs} on, trials below the median of the others stop",
    }
    never = "; the recipe always goes on" if planning.has_recipe(spec) else ""
    return f"{stopping.scheduler}: {texts[stopping.scheduler]}{never}" if stopping.scheduler in texts else "none"
