"""The numbers behind the figures: tables in, tables out, nothing drawn.

Only COMPLETE trials can lead: an early-stopped trial has seen fewer epochs, and a running one may still change.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis import columns
from study.ranking import pareto
from study.store.records import RECIPE, REPLICATE

PUBLISHED, OWN = "published", "own"
"""The kinds of a baseline besides RECIPE."""
SEARCH = "search"
ENDED_WITH_SCORE = ("COMPLETE", "PRUNED")
WITH_RUNGS = ("asha", "promoting_asha", "hyperband")
"""The schedulers that have rungs."""


@dataclass(frozen=True)
class Objective:
    """The column that trials are compared by, and whether more of it (`max`) or less (`min`) is better."""

    metric: str
    mode: str

    @property
    def ascending(self) -> bool:
        return self.mode == "min"


def objectives(table: pd.DataFrame) -> list[Objective]:
    """Return the study's objectives in the order of the spec.

    If the table has no study, because it was read from a CSV file, the only objective is validation IoU.
    """
    spec = table.attrs.get("study", {}).get("spec", {})
    given = spec.get("objective", {"metric": "val_iou", "mode": "max"})
    return [Objective(**one) for one in (given if isinstance(given, list) else [given])]


def objective(table: pd.DataFrame) -> Objective:
    """Return the study's first objective."""
    return objectives(table)[0]


def on_front(trials: pd.DataFrame) -> pd.Series:
    """Whether each trial is in the Pareto set.

    It is if no other finished trial is as good in every objective and better in one.
    """
    aims = objectives(trials)
    values = trials[[aim.metric for aim in aims]].astype(float) * [1 if aim.ascending else -1 for aim in aims]
    competes = (trials["state"] == "COMPLETE") & (trials["source"] != REPLICATE) & values.notna().all(axis=1)
    found = pd.Series(False, index=trials.index)
    found[competes] = pareto.front(values[competes].to_numpy())
    return found


def rungs(table: pd.DataFrame) -> list[int]:
    """Return the epochs from which only the best trials continue.

    The list is empty if the study has no such epochs, or the table has no study.
    """
    spec = table.attrs.get("study", {}).get("spec", {})
    stopping = spec.get("early_stopping") or {}
    found = []
    rung = stopping.get("min_epochs", 1) if stopping.get("scheduler") in WITH_RUNGS else math.inf
    while rung < spec.get("epochs", 0):
        found.append(int(rung))
        rung *= stopping.get("reduction_factor", 3)
    return found


def baselines(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials that the spec states: the recipe, published ones, and the user's own; see `kinds`."""
    return trials[~trials["source"].isin((SEARCH, REPLICATE))]


def kinds(trials: pd.DataFrame) -> dict[str, str]:
    """Return the kind of each baseline, by its source.

    It is RECIPE, PUBLISHED if the spec names the publication, or else OWN. A published baseline is OWN too if the table
    has no study.
    """
    given = trials.attrs.get("study", {}).get("spec", {}).get("baselines", [])
    published = {one["name"] for one in given if one.get("system")}
    sources = baselines(trials)["source"].unique()
    return {name: RECIPE if name == RECIPE else PUBLISHED if name in published else OWN for name in sources}


def names(trials: pd.DataFrame) -> dict[str, str]:
    """Return the display name of each baseline, by its source.

    Examples: `the recipe`, `R4 U-Net (published)`, `mine (own baseline)`.
    """
    words = {PUBLISHED: " (published)", OWN: " (own baseline)"}
    return {name: "the recipe" if kind == RECIPE else name + words[kind] for name, kind in kinds(trials).items()}


def chosen(trials: pd.DataFrame) -> int | None:
    """Return the trial that the study chose, see study.driver.verdict; None if it has not chosen yet."""
    verdict = trials.attrs.get("study", {}).get("verdict")
    return int(verdict["trial"]) if verdict else None


def originals(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of trials or epochs without the seed replicates of finalists.

    No comparison of choices counts the replicates.
    """
    kept = table[table["source"] != REPLICATE]
    kept.attrs = table.attrs
    return kept


def ranked(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials best first, whatever their state.

    Ties are ordered by the other objectives, then by number. Trials without a score come last.
    """
    aims = [aim for aim in objectives(trials) if aim.metric in trials]  # a table of epochs has only scores
    order = [aim.ascending for aim in aims]
    return trials.sort_values([*(aim.metric for aim in aims), "trial"], ascending=[*order, True], na_position="last")


def best(trials: pd.DataFrame) -> pd.Series | None:
    """Return the leading COMPLETE trial; None if no trial has finished."""
    trials = originals(trials)
    finished = ranked(trials[trials["state"] == "COMPLETE"].dropna(subset=[objective(trials).metric]))
    return None if finished.empty else finished.iloc[0]


@dataclass(frozen=True)
class Results:
    """A study's trials with their order, its best trial, and its choice: made once for all parts of a report."""

    trials: pd.DataFrame
    """All trials, seed replicates included, as `analysis.load.trials` returns them."""
    objectives: list[Objective]
    ranked: pd.DataFrame
    """The trials without seed replicates, best first."""
    best: pd.Series | None
    """The leading COMPLETE trial; None if no trial has finished."""
    choice: pd.Series | None
    """The trial that the study chose; None if it has not chosen yet."""

    @property
    def objective(self) -> Objective:
        return self.objectives[0]

    @property
    def shown(self) -> pd.Series | None:
        """The choice, or the best trial if there is no choice yet."""
        return self.best if self.choice is None else self.choice


def results(trials: pd.DataFrame) -> Results:
    choice = trials[trials["trial"] == chosen(trials)]
    return Results(
        trials, objectives(trials), ranked(originals(trials)), best(trials), choice.iloc[0] if len(choice) else None
    )


MAX_LINES = 200
"""The most trials that a figure draws as lines; more are unreadable, and no browser opens the page."""


def downsample(trials: pd.DataFrame, most: int = MAX_LINES) -> pd.DataFrame:
    """Return about `most` of the trials, or all if there are not more; in the table's order.

    It keeps every baseline, the best `most // 2` trials, and an even sample of all others.
    """
    if len(trials) <= most:
        return trials
    ordered = ranked(trials)
    first = ordered.index[: most // 2].union(baselines(trials).index)
    rest = trials.index.difference(first, sort=False)
    sample = rest[:: -(-len(rest) // (most - most // 2))]
    kept = trials[trials.index.isin(first.union(sample))]
    kept.attrs = trials.attrs
    return kept


def history(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the scored trials in the order they ended, with the best score so far.

    Columns: `trial`, `source`, `state`, `score`, `ended` (how many had ended, from 1), `seconds`, and `best`. `seconds`
    is the training of all trials that had ended by then, failed ones included. `best` is the best score of a COMPLETE
    trial so far, missing before the first.
    """
    aim, trials = objective(trials), originals(trials)
    ended = trials[trials["state"] != "RUNNING"].sort_values(["finished", "trial"])
    steps = ended[["trial", "source", "state"]].assign(score=ended[aim.metric])
    steps["seconds"] = ended["train_seconds"].fillna(0).cumsum()
    steps = steps[steps["state"].isin(ENDED_WITH_SCORE) & steps["score"].notna()].reset_index(drop=True)
    complete = steps["score"].where(steps["state"] == "COMPLETE")
    steps["best"] = (complete.cummin() if aim.ascending else complete.cummax()).ffill()
    steps.insert(4, "ended", range(1, len(steps) + 1))
    return steps


def hyperparameters(trials: pd.DataFrame) -> list[str]:
    """Return the columns of choices, in the order of the table."""
    return ["model", "loss", *columns.hyperparameters([str(name) for name in trials])]


def varied(trials: pd.DataFrame) -> list[str]:
    """Return the choices that the trials made differently; a choice that only some trials have counts too."""
    return [name for name in hyperparameters(trials) if trials[name].nunique(dropna=False) > 1]


def tooltip_columns(trials: pd.DataFrame) -> list[str]:
    """Return the choices to show on hover: those that the trials made differently.

    If there are very many trials, the list is empty: a click shows all choices, and a page with them in every figure is
    too large to send.
    """
    return varied(trials) if len(trials) <= MAX_LINES else []


def configuration(row: Mapping[Any, Any] | pd.Series, names: list[str]) -> dict[str, str]:
    """Return the trial's choices as text, without those that it does not have."""
    return {name: text(row[name]) for name in names if not pd.isna(row[name])}


def text(value: Any) -> str:
    """Return a value as people write it: numbers such as 1.5e-4, and yes or no for flags."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e+") if 0 < abs(value) < 0.01 else f"{value:.3g}"
    return str(value)


def image_iou(counts: pd.DataFrame) -> pd.Series:
    """Return each image's IoU by its id: TP / (TP + FP + FN), 1 if prediction and truth are both empty.

    In binary tasks it is that of class 1. With more classes it is the mean over the classes, background included, that
    are in the image's truth or prediction.
    """
    rows = counts[counts["class"] == 1] if counts["class"].max() == 1 else counts
    union = rows["tp"] + rows["fp"] + rows["fn"]
    ratio = (rows["tp"] / union).where(union > 0, 1.0 if counts["class"].max() == 1 else np.nan)
    return ratio.groupby(rows["id"]).mean()


COSTS = {
    "train_seconds": "training (s)",
    "gpu_seconds": "GPU-seconds",
    "cost": "cost of training (usd)",
    "params_total": "parameters",
    "latency_ms": "latency of an image (ms)",
}
"""The costs that a score may be weighed against, with their units."""


def costs(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the finished trials with their costs, and whether each is efficient.

    Columns: `trial`, `score`, and each of COSTS and of the study's further objectives that is not the same for all. For
    each of these, `<cost>_efficient` says whether no other trial with a known cost has a score as good for less (for an
    objective to maximise: for more). GPU-seconds are left out if they have a price.
    """
    aim, trials = objective(trials), originals(trials)
    finished = trials[(trials["state"] == "COMPLETE") & trials[aim.metric].notna()]
    found = finished[["trial"]].assign(score=finished[aim.metric].astype(float))
    known = [name for name in COSTS if not (name == "gpu_seconds" and "cost" in finished)]
    signs = dict.fromkeys(known, 1) | {one.metric: 1 if one.ascending else -1 for one in objectives(trials)[1:]}
    for name in [name for name in signs if name in finished]:
        values = finished[name].astype(float).dropna()
        if values.nunique() > 1:
            found[name] = values
            efficient = _efficient(signs[name] * values, found["score"][values.index], aim.ascending)
            found[f"{name}_efficient"] = efficient.reindex(found.index, fill_value=False)
    return found


def _efficient(costs: pd.Series, scores: pd.Series, ascending: bool) -> pd.Series:
    """Whether each trial is efficient: of equal costs the better score, of equal trials all."""
    each = pd.DataFrame({"cost": costs, "score": scores if ascending else -scores})
    order = each.drop_duplicates().sort_values(["cost", "score"])
    front = order[order["score"] < order["score"].cummin().shift(fill_value=np.inf)]
    return pd.Series(pd.MultiIndex.from_frame(each).isin(pd.MultiIndex.from_frame(front)), index=scores.index)


RADAR = (
    *("iou", "iou_foreground", "dice", "dice_foreground", "soft_iou", "soft_dice"),
    *("pixel_accuracy", "class_accuracy", "sensitivity", "specificity"),
)
"""The scores from 0 to 1; a task has those that are measured on it."""


def contenders(trials: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the best trial, every baseline, and every other finalist; and the split to compare them on.

    The trials are indexed by number. The split is the sealed test split if all of them were scored there, else the
    validation split.
    """
    leader, trials = best(trials), originals(trials)
    leads = trials["trial"] == (-1 if leader is None else leader["trial"])
    tested = trials["test_iou"].notna() if "test_iou" in trials else pd.Series(False, index=trials.index)
    chosen = trials[leads | (trials["source"] != SEARCH) | tested]
    chosen = chosen[chosen[objective(trials).metric].notna()]
    all_tested = len(chosen) > 0 and bool(tested[chosen.index].all())
    return chosen.set_index("trial"), "test" if all_tested else "val"


def radar_scores(trials: pd.DataFrame) -> pd.DataFrame:
    """Return one row for the best trial and each baseline, and one column for each score from 0 to 1.

    The rows are indexed by trial. `attrs["split"]` is the split from `contenders`.
    """
    scored, split = contenders(trials)
    leader = best(trials)
    rivals = scored["source"] != SEARCH
    scored = scored[rivals | (scored.index == (-1 if leader is None else leader["trial"]))]
    named = {name: scored[f"{split}_{name}"] for name in RADAR if f"{split}_{name}" in scored}
    scores = pd.DataFrame(named, index=scored.index).dropna(axis="columns", how="all")
    scores.attrs = {"split": split}
    return scores
