"""The numbers behind the figures: tables in, tables out, nothing drawn.

Only COMPLETE trials lead: a trial that was stopped early has seen fewer epochs, a running one may yet change.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.columns import HYPERPARAMETERS
from study import pareto
from study.records import RECIPE, REPLICATE

PUBLISHED, OWN = "published", "own"
"""Kinds of a baseline, beside RECIPE."""
SEARCH = "search"
ENDED_WITH_SCORE = ("COMPLETE", "PRUNED")
WITH_RUNGS = ("asha", "promoting_asha", "hyperband")
"""Schedulers that have any."""


@dataclass(frozen=True)
class Objective:
    """The column that trials compare by, and whether more of it (`max`) or less (`min`) is better."""

    metric: str
    mode: str

    @property
    def ascending(self) -> bool:
        return self.mode == "min"


def objectives(table: pd.DataFrame) -> list[Objective]:
    """The study's own, those it had first in front; validation IoU where the table remembers no study, as one read
    from CSV."""
    spec = table.attrs.get("study", {}).get("spec", {})
    given = spec.get("objective", {"metric": "val_iou", "mode": "max"})
    return [Objective(**one) for one in (given if isinstance(given, list) else [given])]


def objective(table: pd.DataFrame) -> Objective:
    """The first one."""
    return objectives(table)[0]


def on_front(trials: pd.DataFrame) -> pd.Series:
    """Whether a trial is of the Pareto set: no other finished trial is as good in every objective and better in one."""
    aims = objectives(trials)
    values = trials[[aim.metric for aim in aims]].astype(float) * [1 if aim.ascending else -1 for aim in aims]
    competes = (trials["state"] == "COMPLETE") & (trials["source"] != REPLICATE) & values.notna().all(axis=1)
    found = pd.Series(False, index=trials.index)
    found[competes] = pareto.front(values[competes].to_numpy())
    return found


def rungs(table: pd.DataFrame) -> list[int]:
    """Epochs from which only the best of its trials go on; none where the study has no such, or the table remembers
    none."""
    spec = table.attrs.get("study", {}).get("spec", {})
    stopping = spec.get("early_stopping") or {}
    found = []
    rung = stopping.get("min_epochs", 1) if stopping.get("scheduler") in WITH_RUNGS else math.inf
    while rung < spec.get("epochs", 0):
        found.append(int(rung))
        rung *= stopping.get("reduction_factor", 3)
    return found


def baselines(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials that the spec states: the recipe, published configurations, and the user's own; see kinds."""
    return trials[~trials["source"].isin((SEARCH, REPLICATE))]


def kinds(trials: pd.DataFrame) -> dict[str, str]:
    """The kind of each baseline, by its source: RECIPE, PUBLISHED if the spec names the publication, else OWN. OWN too
    if the table remembers no study."""
    given = trials.attrs.get("study", {}).get("spec", {}).get("baselines", [])
    published = {one["name"] for one in given if one.get("system")}
    sources = baselines(trials)["source"].unique()
    return {name: RECIPE if name == RECIPE else PUBLISHED if name in published else OWN for name in sources}


def names(trials: pd.DataFrame) -> dict[str, str]:
    """Each baseline by its source as people read it: `the recipe`, `R4 U-Net (published)`, `mine (own baseline)`."""
    words = {PUBLISHED: " (published)", OWN: " (own baseline)"}
    return {name: "the recipe" if kind == RECIPE else name + words[kind] for name, kind in kinds(trials).items()}


def chosen(trials: pd.DataFrame) -> int | None:
    """The study's choice, see study.verdict; None if there is none yet."""
    verdict = trials.attrs.get("study", {}).get("verdict")
    return int(verdict["trial"]) if verdict else None


def originals(table: pd.DataFrame) -> pd.DataFrame:
    """Without the seed replicates of finalists, which no comparison of choices counts: of trials, or of epochs."""
    kept = table[table["source"] != REPLICATE]
    kept.attrs = table.attrs
    return kept


def ranked(trials: pd.DataFrame) -> pd.DataFrame:
    """Best first, whatever the state; ties by the other objectives, then by number; those without a score last."""
    aims = [aim for aim in objectives(trials) if aim.metric in trials]  # epochs have scores alone
    order = [aim.ascending for aim in aims]
    return trials.sort_values([*(aim.metric for aim in aims), "trial"], ascending=[*order, True], na_position="last")


def best(trials: pd.DataFrame) -> pd.Series | None:
    """The leading COMPLETE trial; None where none has finished."""
    trials = originals(trials)
    finished = ranked(trials[trials["state"] == "COMPLETE"].dropna(subset=[objective(trials).metric]))
    return None if finished.empty else finished.iloc[0]


MOST_LINES = 200
"""Trials that a figure draws a line each of: more are a blot, and a page that no browser opens."""


def telling(trials: pd.DataFrame, most: int = MOST_LINES) -> pd.DataFrame:
    """Of more trials than `most`, about as many: every baseline, the best half, and an even sample of all
    others; in the table's order."""
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
    """Scored trials in the order they ended: `trial`, `source`, `state`, `score`, `ended` (how many had, from 1),
    `seconds` (of training, of all trials ended by then, failed ones included), `best` (the best score of a COMPLETE
    trial so far, missing before the first)."""
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
    """Columns of choices, in the table's order."""
    named = [name for name in HYPERPARAMETERS if name in trials]
    losses = [str(name) for name in trials if str(name).startswith("loss_")]
    others = ["augment", "optimizer", "weight_decay", "schedule", "normalize", "encoder_weights"]
    return ["model", "loss", *named[:3], *losses, *named[3:], *(name for name in others if name in trials)]


def varied(trials: pd.DataFrame) -> list[str]:
    """Choices of which the trials made more than one; a choice that only some of them have counts too."""
    return [name for name in hyperparameters(trials) if trials[name].nunique(dropna=False) > 1]


def told(trials: pd.DataFrame) -> list[str]:
    """Choices that are shown under the pointer: what the trials made differently, but of very many nothing. A click
    shows all of it, and a page that says it in every figure is too large to send."""
    return varied(trials) if len(trials) <= MOST_LINES else []


def configuration(row: Mapping[Any, Any] | pd.Series, names: list[str]) -> dict[str, str]:
    """The trial's choices as text, without those it does not have."""
    return {name: text(row[name]) for name in names if not pd.isna(row[name])}


def text(value: Any) -> str:
    """A value as people write it: 1.5e-4 as it is, yes and no for flags."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e+") if 0 < abs(value) < 0.01 else f"{value:.3g}"
    return str(value)


def image_iou(counts: pd.DataFrame) -> pd.Series:
    """IoU of each image by its id, TP / (TP + FP + FN), 1 where prediction and truth are both empty.

    Binary tasks: of class 1. Multi-class: the mean over the classes, background included, that are in the image's
    truth or prediction.
    """
    rows = counts[counts["class"] == 1] if counts["class"].max() == 1 else counts
    union = rows["tp"] + rows["fp"] + rows["fn"]
    ratio = (rows["tp"] / union).where(union > 0, 1.0 if counts["class"].max() == 1 else np.nan)
    return ratio.groupby(rows["id"]).mean()


def interval(values: pd.Series, draws: int = 2000) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean (Efron & Tibshirani 1993), the same at every call."""
    sample = np.random.default_rng(0).choice(values.to_numpy(float), (draws, len(values)))
    low, high = np.percentile(sample.mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


COSTS = {
    "train_seconds": "training (s)",
    "gpu_seconds": "GPU-seconds",
    "cost": "cost of training (usd)",
    "params_total": "parameters",
    "latency_ms": "latency of an image (ms)",
}
"""What a score may be weighed against, and its unit."""


def costs(trials: pd.DataFrame) -> pd.DataFrame:
    """Finished trials: `trial`, `score`, each of COSTS and of the study's further objectives that is not the same for
    all, and for each `<cost>_efficient`: whether no other of those whose cost is known has a score as good for less (of
    an objective that is to be large: for more). GPU-seconds are left out where there is a price for them."""
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
    """Of those that cost the same, the better one; of equals, both."""
    each = pd.DataFrame({"cost": costs, "score": scores if ascending else -scores})
    order = each.drop_duplicates().sort_values(["cost", "score"])
    front = order[order["score"] < order["score"].cummin().shift(fill_value=np.inf)]
    return pd.Series(pd.MultiIndex.from_frame(each).isin(pd.MultiIndex.from_frame(front)), index=scores.index)


RADAR = (
    *("iou", "iou_foreground", "dice", "dice_foreground", "soft_iou", "soft_dice"),
    *("pixel_accuracy", "class_accuracy", "sensitivity", "specificity"),
)
"""Scores from 0 to 1; a task has those that are measured on it."""


def contenders(trials: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The best trial, every baseline and every other finalist, indexed by trial; and the split on which
    they compare: the sealed test split where all of them were scored there, else the validation split."""
    leader, trials = best(trials), originals(trials)
    leads = trials["trial"] == (-1 if leader is None else leader["trial"])
    tested = trials["test_iou"].notna() if "test_iou" in trials else pd.Series(False, index=trials.index)
    chosen = trials[leads | (trials["source"] != SEARCH) | tested]
    chosen = chosen[chosen[objective(trials).metric].notna()]
    all_tested = len(chosen) > 0 and bool(tested[chosen.index].all())
    return chosen.set_index("trial"), "test" if all_tested else "val"


def radar_scores(trials: pd.DataFrame) -> pd.DataFrame:
    """One row for the best trial and each baseline, indexed by trial; one column a score from 0 to 1.

    `attrs["split"]` is the split that contenders names."""
    scored, split = contenders(trials)
    leader = best(trials)
    rivals = scored["source"] != SEARCH
    scored = scored[rivals | (scored.index == (-1 if leader is None else leader["trial"]))]
    named = {name: scored[f"{split}_{name}"] for name in RADAR if f"{split}_{name}" in scored}
    scores = pd.DataFrame(named, index=scored.index).dropna(axis="columns", how="all")
    scores.attrs = {"split": split}
    return scores
