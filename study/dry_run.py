"""The plan of a study before it starts: `python -m study.run SPEC --dry-run`. Nothing of Ray is started."""

import math
from collections import Counter
from pathlib import Path

from seg import data, models, split
from seg.data import Dataset
from study import comparison, replicates, space
from study.budget import parse
from study.caveats import caveats
from study.meter import price
from study.preparation import check_costs, check_objective, weights_folder
from study.progress import duration
from study.redact import redact
from study.resources import Allotment, Cluster, allot, plural
from study.schedulers.hyperband import Hyperband
from study.schedulers.rung import milestones
from study.spec import Spec
from study.store import Store
from study.timing import seconds_per_image


def show(spec: Spec, store: Store, data_dir: Path, weights_dir: Path | None, cluster: Cluster) -> None:
    """Print trials, epochs, lanes, data, search space and an estimated time. Raises what `prepare` would raise,
    MissingData instead of downloading."""
    dataset = data.load(spec.dataset, data_dir, download=False)
    check_objective(spec, dataset.classes)
    allotment = allot(spec, cluster)
    check_costs(spec, allotment)
    images = _images(dataset)
    least, full, again = _seconds(spec, images, allotment)
    lines = {
        "study": redact(store.uri),
        "data": f"{dataset.name}: {', '.join(f'{count} {name}' for name, count in images.items())} images"
        + (f" ({dataset.remark})" if dataset.remark else ""),
        "image size": f"{spec.image_size} px",
        "encoder weights": weights_there(spec, weights_folder(data_dir, weights_dir)),
        "trials": _trials(spec),
        "epochs": f"{spec.epochs} a trial",
        "sampler": spec.sampler,
        "early stopping": _stopping(spec),
        "objective": _objectives(spec),
        "finalists": _finalists(spec),
        "machines": str(cluster),
        "lanes": str(allotment),
        "estimated time": _estimate(least + again, full + again),
    }
    if spec.compare:
        lines["compare"] = _shares(spec)
    if spec.budget:
        lines["budget"] = budget_room(spec, cluster, allotment, least, full, again)
    for title, text in lines.items():
        print(f"{title:15s} {text}")
    for place, line in enumerate(space.describe(spec)):
        print(f"{'search space' if place == 0 else '':15s} {line}")
    for line in caveats(spec):
        print(f"{'mind':15s} {line}")
    print("nothing was started; leave --dry-run out to start")


def weights_there(spec: Spec, folder: Path) -> str:
    """Which of the files that some trial will load are there."""
    files = {models.weights_file(name) for name in spec.models} - {None}
    if spec.encoder.weights == "none" or not files:
        return "none: trained from scratch"
    missing = sorted(str(name) for name in files if not (folder / str(name)).exists())
    found = f"{len(files) - len(missing)} of {len(files)} files in {folder}"
    return found + (f"; {', '.join(missing)} will be downloaded there" if missing else "")


def _images(dataset: Dataset) -> dict[str, int]:
    assigned = list(split.assign(dataset.samples).values())
    return {name: assigned.count(name) for name in ("train", "val", "test")}


def _trials(spec: Spec) -> str:
    again = f"; then up to {count} with other seeds" if (count := replicates.most(spec)) else ""
    return f"{spec.trials}, of which {len(spec.baselines)} published baselines{again}"


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
    values = comparison.comparable(spec)[str(spec.compare)]
    each = plural((spec.trials - len(spec.baselines)) / len(values), "searched trial")
    return f"{spec.compare}: {each} of each of {', '.join(map(str, values))}"


def _stopping(spec: Spec) -> str:
    stopping = spec.early_stopping
    rungs = ", ".join(map(str, milestones(stopping.min_epochs, stopping.reduction_factor, spec.epochs)))
    texts = {
        "asha": f"at epoch {rungs} only the best 1/{stopping.reduction_factor} so far go on",
        "promoting_asha": f"trials pause at epoch {rungs}; the best 1/{stopping.reduction_factor} go on",
        "hyperband": f"brackets of promoting_asha, whose first rungs are at epoch {rungs}; one without any",
        "median": f"from epoch {stopping.min_epochs} on, trials below the median of the others stop",
    }
    return f"{stopping.scheduler}: {texts[stopping.scheduler]}" if stopping.scheduler in texts else "none"


def _seconds(spec: Spec, images: dict[str, int], allotment: Allotment) -> tuple[float, float, float]:
    """That the search takes where every trial is stopped as early as it can be, and where none is, and beside it the
    best with other seeds: from a few timed training steps of each architecture on this machine, one lane's threads;
    each is taken to have its share of the trials."""
    pace = seconds_per_image(spec, allotment.threads)
    # Validation costs about a third of a training step an image: no backward pass.
    epoch_seconds = pace * (images["train"] + images["val"] / 3)
    epochs = _least_epochs(spec), spec.trials * spec.epochs, replicates.most(spec) * spec.epochs
    least, full, again = (count * epoch_seconds / allotment.lanes for count in epochs)
    return least, full, again


def _estimate(least: float, full: float) -> str:
    between = f"between {duration(least)} (every trial stopped as early as it can be) and "
    return (between if least < full else "") + f"{duration(full)} (none stopped), timed on this machine"


def budget_room(
    spec: Spec, cluster: Cluster, allotment: Allotment, least: float, full: float, again: float = 0.0
) -> str:
    """How many trials the budget holds; `least`, `full` and `again`: the seconds of all of them, see _seconds."""
    budget, prices = parse(str(spec.budget)), spec.resources.price_per_hour or {}
    each = {"hours": 1.0, "GPU-hours": allotment.lanes * allotment.workers * allotment.gpus_per_worker}
    if budget.unit == "usd":
        each["usd"] = sum(price(prices, node.kind) for node in cluster.all)
    seconds = 3600 * budget.amount / each[budget.unit] if each[budget.unit] else math.inf
    few, many = (int(min(spec.trials, spec.trials * seconds / all)) for all in (full, least))
    which = f"about {few} (none stopped)" + (f" to {many} (all as early as can be)" if many > few else "")
    rate = "" if budget.unit == "hours" else f", at {each[budget.unit]:.4g} an hour"
    held = f"all {spec.trials} trials" if few == spec.trials else f"{which} of {spec.trials} trials"
    seeds = " and those with other seeds" if seconds >= full + again else "; those with other seeds where they fit"
    return f"{budget}{rate}: {held}{seeds if again else ''}; finalists are scored beyond it"


def _least_epochs(spec: Spec) -> float:
    """Epochs of all searched trials where each rung lets only its share through."""
    stopping = spec.early_stopping
    first, factor = stopping.min_epochs, stopping.reduction_factor
    if stopping.scheduler == "none":
        return spec.trials * spec.epochs
    if stopping.scheduler == "median":
        return spec.trials * first
    if stopping.scheduler != "hyperband":
        return _least_of_bracket(first, factor, spec.epochs, spec.trials)
    brackets = Hyperband(first, factor, spec.epochs, spec.trials)
    members = Counter(map(brackets.bracket, range(spec.trials)))
    return sum(_least_of_bracket(first * factor**s, factor, spec.epochs, count) for s, count in members.items())


def _least_of_bracket(first: int, factor: int, epochs: int, trials: int) -> float:
    total, before, alive = 0.0, 0, float(trials)
    for rung in [*milestones(first, factor, epochs), epochs]:
        total += alive * (rung - before)
        before, alive = rung, max(alive / factor, 1)
    return total
