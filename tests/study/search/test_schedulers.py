"""Schedulers against Ray's ASHA, the published algorithm by brute force, and numbers worked out by hand."""

import math
import random
from collections import Counter
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
from own_specs import SEARCHED
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from study.search import schedulers
from study.search.schedulers import SCHEDULERS, Decision, Scheduler
from study.search.schedulers.asha import Hyperband, PromotingAsha, StoppingAsha
from study.search.schedulers.scheduler import MedianRule, Rung, milestones
from study.spec import load_spec
from study.spec.spec import EarlyStopping

EPOCHS = 27
NAN = math.nan


def curves(seed: int, trials: int, epochs: int = EPOCHS) -> list[list[float]]:
    """That rise noisily and cross; some epochs have no score."""
    chance = np.random.default_rng(seed)
    rise = 1 - np.exp(-np.arange(1, epochs + 1) / chance.uniform(1, 20, (trials, 1)))
    noisy = chance.uniform(0.3, 1, (trials, 1)) * rise + chance.normal(0, 0.03, (trials, epochs))
    noisy[chance.random((trials, epochs)) < 0.02] = NAN
    return [row.tolist() for row in noisy]


class Lanes:
    """Trials on a few lanes, in a random but seeded order of events; stands for no code of ours."""

    def __init__(self, scheduler: Scheduler, scores: list[list[float]], lanes: int, seed: int = 0):
        self.scheduler, self.scores, self.lanes = scheduler, scores, lanes
        self.chance = random.Random(seed)
        self.epochs = [0] * len(scores)
        self.waiting = list(range(len(scores)))
        self.running: list[int] = []
        self.ended: dict[int, str] = {}
        self.log: list[tuple[int, int, Decision]] = []

    def fill(self) -> None:
        while len(self.running) < self.lanes:
            last = not (self.waiting or self.running)
            if (trial := self.scheduler.promotable(last)) is not None:
                self.scheduler.promote(trial)
            elif self.waiting:
                trial = self.waiting.pop(0)
            else:
                return
            assert trial not in self.running and trial not in self.ended
            self.running.append(trial)

    def step(self) -> None:
        trial = self.chance.choice(self.running)
        self.epochs[trial] += 1
        if self.epochs[trial] == len(self.scores[trial]):
            self.running.remove(trial)
            self.ended[trial] = "COMPLETE"
            return
        decision = self.scheduler.judge(trial, self.scores[trial][: self.epochs[trial]])
        self.log.append((trial, self.epochs[trial], decision))
        if decision is not Decision.GO_ON:
            self.running.remove(trial)
        if decision is Decision.STOP:
            self.ended[trial] = "PRUNED"
        for settled in self.scheduler.settle():
            assert settled not in self.running and settled not in self.ended
            self.ended[settled] = "PRUNED"

    def run(self, steps: float = math.inf) -> "Lanes":
        self.fill()
        while self.running and steps > 0:
            self.step()
            self.fill()
            steps -= 1
        return self


def test_every_scheduler_of_the_spec_can_be_built() -> None:
    assert set(SCHEDULERS) == set(get_args(EarlyStopping.model_fields["scheduler"].annotation))
    for name in SCHEDULERS:
        spec = load_spec(SEARCHED, [f"early_stopping.scheduler={name}", "trials=20", "epochs=9"])
        done = Lanes(schedulers.build(spec), curves(1, 20, 9), 3).run()
        assert done.ended and (name == "none") == (set(done.ended.values()) == {"COMPLETE"})


def test_milestones() -> None:
    assert list(milestones(1, 3, 27)) == [1, 3, 9] and list(milestones(5, 3, 50)) == [5, 15, 45]
    assert list(milestones(2, 2, 2)) == []


# Rungs


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_cutoff_is_numpys_quantile(factor: int) -> None:
    chance = random.Random(factor)
    rung, scores = Rung(1), []
    assert rung.cutoff(factor) == -math.inf
    for trial in range(200):
        scores.append(chance.choice([round(chance.random(), 1), chance.random()]))
        rung.add(trial, scores[-1])
        assert rung.cutoff(factor) == pytest.approx(np.percentile(scores, 100 * (1 - 1 / factor)), abs=1e-12)
        by_score = sorted(range(trial + 1), key=lambda n: (-scores[n], n))
        assert [rung.rank(n) for n in by_score] == list(range(trial + 1))


# ASHA that stops


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("first", "factor"), [(1, 3), (2, 2), (5, 3)])
def test_asha_decides_as_rays_does(seed: int, first: int, factor: int) -> None:
    rays = ASHAScheduler("epoch", "score", "max", max_t=EPOCHS, grace_period=first, reduction_factor=factor)
    ours = StoppingAsha(first, factor, EPOCHS)
    chance = random.Random(seed)
    scores = [np.fmax.accumulate(curve).tolist() for curve in curves(seed, 60)]
    scores = [[0.0 if math.isnan(score) else score for score in curve] for curve in scores]
    alive = {trial: 0 for trial in range(60)}
    stopped = 0
    for trial in alive:
        rays.on_trial_add(None, _tunes(trial))  # type: ignore[arg-type]
    while alive:
        trial = chance.choice([*alive][:4])
        alive[trial] += 1
        epoch = alive[trial]
        if epoch == EPOCHS:
            del alive[trial]
            continue
        result = {"epoch": epoch, "score": scores[trial][epoch - 1]}
        theirs = rays.on_trial_result(None, _tunes(trial), result)  # type: ignore[arg-type]
        decision = ours.judge(trial, scores[trial][:epoch])
        assert (decision is Decision.STOP) == (theirs == TrialScheduler.STOP), (trial, epoch)
        if decision is Decision.STOP:
            stopped += 1
            del alive[trial]
    assert 20 < stopped < 60


def _tunes(trial: int) -> Any:
    return SimpleNamespace(trial_id=str(trial))


def test_asha_compares_the_best_so_far() -> None:
    asha = StoppingAsha(2, 2, 9)
    assert asha.judge(0, [0.5, 0.5]) is Decision.GO_ON
    assert asha.judge(1, [0.6, 0.1]) is Decision.GO_ON, "its best is above 0.5"
    assert asha.judge(2, [0.54, 0.54]) is Decision.STOP, "the best half of 0.5 and 0.6 begins at 0.55"
    assert asha.judge(3, [0.55, 0.2]) is Decision.GO_ON


def test_asha_without_a_score_has_no_reason_to_stop() -> None:
    asha = StoppingAsha(1, 2, 9)
    asha.judge(0, [0.5])
    assert asha.judge(1, [NAN]) is Decision.GO_ON
    assert asha.judge(1, [NAN, 0.1]) is Decision.GO_ON, "the rung at epoch 2 is empty"
    assert asha.judge(2, [0.6, 0.2]) is Decision.GO_ON
    assert asha.judge(3, [0.55, NAN]) is Decision.GO_ON, "at epoch 2 as at epoch 1 it has 0.55"


def test_asha_judges_a_rung_that_was_passed_unjudged() -> None:
    """As by a trial that was killed there: its checkpoint is of the rung, its record of the epoch before."""
    asha = StoppingAsha(3, 3, 27)
    for trial in range(6):
        asha.remember(trial, [0.5, 0.6, 0.7])
    assert asha.judge(9, [0.1, 0.1, 0.1, 0.1]) is Decision.STOP


def test_asha_judges_nobody_twice_at_a_rung() -> None:
    """A killed trial's checkpoint may be an epoch behind its record: the epoch that it trains again was judged."""
    asha = StoppingAsha(1, 2, 9)
    assert asha.judge(0, [0.5]) is Decision.GO_ON
    for trial in range(1, 9):
        asha.remember(trial, [0.9])
    assert asha.judge(0, [0.5]) is Decision.GO_ON


@pytest.mark.parametrize("name", ["asha", "median"])
@pytest.mark.parametrize("seed", range(5))
def test_a_restart_changes_no_decision(name: str, seed: int) -> None:
    """A new scheduler that is told, in any order, what trials did before decides as the first one would have."""
    scores = curves(seed, 40)
    whole = Lanes(_new(name), scores, 3, seed).run()
    cut = Lanes(_new(name), scores, 3, seed)
    for steps in (60, 40, 90):
        cut.run(steps)
        cut.scheduler = _new(name)
        trials = [trial for trial, epochs in enumerate(cut.epochs) if epochs]
        for trial in random.Random(seed).sample(trials, len(trials)):
            cut.scheduler.remember(trial, scores[trial][: cut.epochs[trial]])
    assert cut.run().log == whole.log and cut.ended == whole.ended


def _new(name: str) -> Scheduler:
    return SCHEDULERS[name](1, 3, EPOCHS, 40)


# ASHA that pauses and promotes


class Algorithm2:
    """get_job of Li et al. 2020, algorithm 2, as it is printed: over all rungs, from the definition."""

    def __init__(self, first: int, factor: int, epochs: int):
        self.factor = factor
        self.milestones = list(milestones(first, factor, epochs))
        self.rungs: list[dict[int, float]] = [{} for _ in self.milestones]
        self.promoted: list[set[int]] = [set() for _ in self.milestones]

    def report(self, trial: int, scores: list[float]) -> None:
        if len(scores) in self.milestones:
            self.rungs[self.milestones.index(len(scores))][trial] = max(scores)

    def get_job(self) -> int | None:
        for k in reversed(range(len(self.rungs))):
            order = sorted(self.rungs[k], key=lambda trial: (-self.rungs[k][trial], trial))
            candidates = order[: len(order) // self.factor]
            promotable = [trial for trial in candidates if trial not in self.promoted[k]]
            if promotable:
                self.promoted[k].add(promotable[0])
                return promotable[0]
        return None


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("first", "factor", "trials"), [(1, 3, 80), (2, 2, 40)])
def test_promotions_are_those_of_the_published_algorithm(seed: int, first: int, factor: int, trials: int) -> None:
    """Every job that a free lane is given, up to the end of the sampling, on four lanes in a random order."""
    scores = [[s if not math.isnan(s) else 0.0 for s in curve] for curve in curves(seed, trials)]
    ours, published = PromotingAsha(first, factor, EPOCHS, trials), Algorithm2(first, factor, EPOCHS)
    chance = random.Random(seed)
    epochs, fresh, running, jobs = Counter[int](), list(range(trials)), list[int](), 0
    while fresh:
        while len(running) < 4 and fresh:
            job = published.get_job()
            assert ours.promotable() == job
            if job is not None:
                ours.promote(job)
            running.append(job if job is not None else fresh.pop(0))
            jobs += job is not None
        trial = chance.choice(running)
        epochs[trial] += 1
        curve = scores[trial][: epochs[trial]]
        if epochs[trial] == EPOCHS:
            running.remove(trial)
            continue
        published.report(trial, curve)
        decision = ours.judge(trial, curve)
        if decision is Decision.PAUSE:
            running.remove(trial)
        elif epochs[trial] in published.milestones:
            assert published.get_job() == trial, "its own lane, free at this moment, is given this very trial"
            jobs += 1
        ours.settle()
    assert jobs > trials // 4


def test_promotion_by_hand() -> None:
    asha = PromotingAsha(1, 2, 4, trials=6)
    assert asha.judge(0, [0.5]) is Decision.PAUSE, "one of one is not among the best half"
    assert asha.judge(1, [0.4]) is Decision.PAUSE
    assert asha.promotable() == 0
    asha.promote(0)
    assert asha.promotable() is None
    assert asha.judge(2, [0.3]) is asha.judge(3, [0.2]) is Decision.PAUSE
    assert asha.promotable() == 1, "two of four, of whom 0 has gone on"
    asha.promote(1)
    assert asha.judge(0, [0.5, 0.5]) is asha.judge(1, [0.4, 0.4]) is Decision.PAUSE
    assert asha.judge(4, [0.45]) is Decision.PAUSE
    assert asha.promotable() == 0, "from the higher rung, though 4 is among the best at the lower one"
    asha.promote(0)
    assert asha.judge(5, [0.41]) is Decision.PAUSE and asha.promotable() == 4


def test_who_is_promoted_at_once_keeps_its_lane() -> None:
    asha = PromotingAsha(1, 2, 4, trials=9)
    assert asha.judge(0, [0.5]) is Decision.PAUSE
    assert asha.judge(1, [0.6]) is Decision.GO_ON
    assert asha.promotable() is None


def test_who_cannot_go_on_any_more_is_settled_once() -> None:
    """Of six trials, two go on from the first rung: the third best of those that are there already does not."""
    asha = PromotingAsha(1, 3, 9, trials=6)
    for trial, score in enumerate((0.1, 0.5)):
        asha.judge(trial, [score])
        assert asha.settle() == []
    asha.judge(2, [0.3])
    assert asha.settle() == [0] and asha.settle() == []
    asha.judge(3, [0.05])
    assert asha.settle() == [3]


@pytest.mark.parametrize("trials", [1, 2, 4, 7])
def test_a_small_study_still_trains_one_trial_to_the_end(trials: int) -> None:
    """With fewer trials at a rung than the factor, nobody would be among the best share."""
    done = Lanes(PromotingAsha(1, 3, EPOCHS, trials), curves(5, trials), lanes=2).run()
    assert "COMPLETE" in done.ended.values()


def test_a_trial_without_a_score_is_not_held_back() -> None:
    asha = PromotingAsha(1, 3, 9, trials=9)
    assert asha.judge(0, [NAN]) is Decision.GO_ON and asha.promotable(last=True) is None


def test_a_rung_that_was_passed_unjudged_holds_a_trial_back() -> None:
    """As of one that was killed at the rung: its checkpoint is of the rung, its record of the epoch before."""
    asha = PromotingAsha(2, 2, 8, trials=9)
    assert asha.judge(0, [0.5, 0.5]) is Decision.PAUSE
    assert asha.judge(1, [0.2, 0.3, 0.9]) is Decision.PAUSE, "what it had by the rung is compared"
    assert asha.promotable() == 0
    asha.promote(0)
    assert asha.judge(2, [0.1, 0.1]) is asha.judge(3, [0.0, 0.0]) is Decision.PAUSE
    assert asha.promotable() == 1
    asha.promote(1)
    assert asha.judge(1, [0.2, 0.3, 0.9, 0.9]) is Decision.PAUSE, "the next rung"


def test_what_is_trained_again_after_a_lane_was_lost_does_not_pause_again() -> None:
    asha = PromotingAsha(1, 2, 8, trials=9)
    asha.judge(0, [0.5])
    asha.judge(1, [0.1])
    asha.promote(0)
    assert asha.judge(0, [0.5]) is Decision.GO_ON, "its checkpoint was of no epoch: epoch 1 is trained again"
    assert asha.judge(0, [0.5, 0.6]) is Decision.PAUSE


@pytest.mark.parametrize("seed", range(4))
def test_paused_trials_are_promoted_after_a_restart(seed: int) -> None:
    """What waits is told to the new scheduler as judged at its rung, everything else as it was."""
    scores, trials = curves(seed, 60), 60
    lanes = Lanes(PromotingAsha(1, 3, EPOCHS, trials), scores, 4, seed).run(100)
    paused = {t for t, n in enumerate(lanes.epochs) if n and t not in lanes.ended and t not in lanes.running}
    assert len(paused) > 5
    again = PromotingAsha(1, 3, EPOCHS, trials)
    order = random.Random(seed).sample(range(trials), trials)
    for trial in order:
        if trial not in paused:
            again.remember(trial, scores[trial][: lanes.epochs[trial]])
    kept = set()
    for trial in order:
        if trial in paused:
            again.remember(trial, scores[trial][: lanes.epochs[trial] - 1])
            if again.judge(trial, scores[trial][: lanes.epochs[trial]]) is Decision.PAUSE:
                kept.add(trial)
    lanes.scheduler, lanes.running = again, [*lanes.running, *(paused - kept)]
    before = {trial: lanes.epochs[trial] for trial in paused}
    lanes.run()
    assert any(lanes.epochs[trial] > epochs for trial, epochs in before.items())
    left = [trial for trial in range(trials) if trial not in lanes.ended]
    assert all(lanes.epochs[trial] in milestones(1, 3, EPOCHS) for trial in left), "paused for good"
    assert 1 <= list(lanes.ended.values()).count("COMPLETE") <= trials // 8


# Hyperband


def test_brackets_spend_about_the_same_number_of_epochs() -> None:
    """27 epochs and factor 3: 27, 12, 6 and 4 trials in brackets of 3, 2, 1 and no rungs (Li et al. 2018, table 1)."""
    hyperband = Hyperband(1, 3, 27, trials=490)
    members = Counter(hyperband.bracket(trial) for trial in range(49))
    assert members == {0: 27, 1: 12, 2: 6, 3: 4}
    for start in range(0, 490, 49):
        assert Counter(hyperband.bracket(trial) for trial in range(start, start + 49)) == members
    assert len({hyperband.bracket(trial) for trial in range(10)}) == 4, "the first few trials are in every bracket"


def test_a_bracket_has_its_first_rung_later_and_the_last_has_none() -> None:
    hyperband = Hyperband(1, 3, 9, trials=99)
    first = {bracket: next(t for t in range(99) if hyperband.bracket(t) == bracket) for bracket in range(3)}
    assert hyperband.judge(first[0], [0.1]) is Decision.PAUSE
    assert hyperband.judge(first[1], [0.1]) is Decision.GO_ON
    assert hyperband.judge(first[1], [0.1] * 3) is Decision.PAUSE
    assert {hyperband.judge(first[2], [0.1] * epochs) for epochs in range(1, 9)} == {Decision.GO_ON}


def test_a_bracket_compares_its_own_trials_alone() -> None:
    done = Lanes(Hyperband(1, 3, 27, 98), curves(3, 98), 5).run()
    last = [trial for trial in range(98) if Hyperband(1, 3, 27, 98).bracket(trial) == 3]
    assert {done.ended[trial] for trial in last} == {"COMPLETE"}
    assert Counter(done.ended.values())["COMPLETE"] < 30


# The median rule


def test_the_median_rule_by_hand() -> None:
    rule = MedianRule(min_epochs=1)
    assert rule.judge(0, [0.2]) is rule.judge(1, [0.4]) is rule.judge(2, [0.6]) is Decision.GO_ON, "too few"
    assert rule.judge(3, [0.39]) is Decision.STOP, "below 0.4, the median of 0.2, 0.4 and 0.6"
    assert rule.judge(4, [0.4]) is Decision.GO_ON
    # Means over two epochs: 0.3, 0.5, 0.7; the best of both epochs counts for who is judged.
    for trial, scores in enumerate(([0.2, 0.4], [0.4, 0.6], [0.6, 0.8])):
        rule.judge(trial, scores)
    assert rule.judge(4, [0.4, 0.1]) is Decision.STOP and rule.judge(5, [0.55, 0.1]) is Decision.GO_ON


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
@pytest.mark.parametrize("seed", range(4))
def test_the_median_rule_by_its_definition(seed: int) -> None:
    scores = curves(seed, 40)
    done = Lanes(MedianRule(min_epochs=3), scores, 4, seed).run()
    seen: dict[int, int] = {}
    for trial, epoch, decision in done.log:
        others = [np.nanmean(scores[t][:epoch]) for t, reached in seen.items() if reached >= epoch and t != trial]
        others = [mean for mean in others if not math.isnan(mean)]
        worse = epoch >= 3 and len(others) >= 3 and np.nanmax(scores[trial][:epoch]) < np.median(others)
        assert (decision is Decision.STOP) == worse, (trial, epoch)
        seen[trial] = epoch
    assert 8 < list(done.ended.values()).count("PRUNED") < 36


# Scale


@pytest.mark.parametrize("name", ["asha", "promoting_asha", "hyperband", "median"])
def test_ten_thousand_trials_take_little_time_each(name: str) -> None:
    """An order of magnitude above what was measured: a pass over all trials at every result would not make it."""
    import time

    scheduler = SCHEDULERS[name](1, 3, EPOCHS, 10_000)
    scores = curves(0, 100)
    for trial in range(9_900):
        scheduler.remember(trial, scores[trial % 100][: 3 + trial % 20])
    began = time.process_time()
    for trial in range(9_900, 10_000):
        for epoch in range(1, 10):
            scheduler.judge(trial, scores[trial % 100][:epoch])
            scheduler.settle()
            scheduler.promotable()
    assert (time.process_time() - began) / 900 < 0.001
