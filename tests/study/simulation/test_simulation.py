"""Simulated studies: a virtual clock by hand, faults, learning curves, and what must hold of every study."""

import dataclasses
import uuid
from collections import Counter
from typing import Any

import numpy as np
import pytest
from own_specs import SEARCHED, WITH_BASELINES

from seg.experiment import Experiment
from study.ranking.objective import Objective
from study.search.schedulers.scheduler import milestones
from study.search.searcher import Searcher
from study.simulation import lanes
from study.simulation.lanes import LANES_A_NODE, REPAIR_SECONDS, Faults, VirtualClock
from study.simulation.learning_curve import LearningCurve, ModelCurves, row
from study.simulation.study import SimulatedStudy, Watch, violations
from study.spec import Spec, load_spec
from study.store import Store
from study.store.records import Record, State, read_records, write_record
from study.trials.messages import Failure

CALM = Faults()


class Given:
    """Curves that are known: each new experiment takes the next."""

    def __init__(self, *courses: LearningCurve):
        self._courses, self._of = list(courses), dict[str, LearningCurve]()

    def course(self, experiment: Experiment) -> LearningCurve:
        key = str(experiment.to_json())
        if key not in self._of:
            self._of[key] = self._courses[len(self._of) % len(self._courses)]
        return self._of[key]


def steady(quality: float, epochs: int, seconds: float = 10.0, **failure: Any) -> LearningCurve:
    return LearningCurve(np.full(epochs, quality), np.full(epochs, seconds), **failure)


def spec_of(*overrides: str, name: str = SEARCHED, trials: int = 12, epochs: int = 9) -> Spec:
    return load_spec(name, [f"trials={trials}", f"epochs={epochs}", "sampler=random", "finalists=1", *overrides])


def stopping(scheduler: str) -> str:
    return f"early_stopping={{scheduler: {scheduler}, min_epochs: 1, reduction_factor: 3}}"


def simulated(spec: Spec, curves: Any = None, count: int = 4, faults: Faults = CALM) -> SimulatedStudy:
    store = Store(f"memory://{uuid.uuid4().hex}")
    study = SimulatedStudy(spec, store, curves or ModelCurves(spec, spec.seed, 0.1), count, faults)
    assert study.create()
    return study


def run(study: SimulatedStudy) -> list[Record]:
    for _ in study.events():
        pass
    assert study.finish() == []
    return read_records(study.store)


# The clock


def test_time_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two lanes; trials of three epochs of 10, 20 and 5 s: the third begins when the first ends, at 30 s."""
    monkeypatch.setattr(lanes, "BEGIN_SECONDS", 1.0)
    monkeypatch.setattr(Faults, "paces", lambda self, count, chance: np.ones(count))
    curves = Given(*(steady(0.5, 3, seconds) for seconds in (10.0, 20.0, 5.0)))
    study = simulated(spec_of(stopping("none"), trials=3, epochs=3), curves, count=2)
    records = run(study)
    assert [record.started[14:19] for record in records] == ["00:00", "00:00", "00:31"]
    assert [record.finished[14:19] for record in records] == ["00:31", "01:01", "00:47"]
    assert study._clock.seconds == 61.0 and study.lanes.busy_seconds == 105.0
    assert [row["seconds"] for row in records[1].epochs] == [20.0, 20.0, 20.0]
    assert [record.extra["lane"] for record in records] == ["lane-0", "lane-1", "lane-0"]


def test_a_paused_trial_goes_on_on_another_lane() -> None:
    curves = Given(*(steady(quality, 9, 10.0 + quality) for quality in np.linspace(0.9, 0.1, 12)))
    study = simulated(spec_of(stopping("promoting_asha")), curves, count=3)
    seen: dict[int, set[str]] = {}
    for _ in study.events():
        for record in study.recorder.records.values():
            seen.setdefault(record.trial, set()).add(record.extra.get("lane", ""))
    assert study.finish() == []
    assert any(len(of - {""}) > 1 for of in seen.values())


# What must hold


@pytest.mark.parametrize("scheduler", ["asha", "promoting_asha", "hyperband", "median", "none"])
@pytest.mark.parametrize("seed", range(3))
def test_every_study_ends_whole_whatever_goes_wrong(scheduler: str, seed: int) -> None:
    """Crashes, slow lanes, and nodes lost many times: `finish` finds nothing, `run` asserts."""
    spec = spec_of(stopping(scheduler), f"seed={seed}", trials=60)
    study = simulated(spec, ModelCurves(spec, seed, 0.4), count=24, faults=Faults(0.2, node_losses=500.0))
    states = Counter(record.state for record in run(study))
    assert study.lanes.losses > 2
    assert states[State.COMPLETE] and states[State.FAILED] and states[State.INFEASIBLE]
    assert bool(states[State.PRUNED]) == (scheduler != "none")


@pytest.mark.parametrize("scheduler", ["asha", "promoting_asha"])
@pytest.mark.parametrize("compare", ["", "compare=model"])
def test_the_best_are_trained_with_other_seeds_once_the_search_has_ended(scheduler: str, compare: str) -> None:
    spec = spec_of(stopping(scheduler), "finalists={top: 3, seeds: 4}", *filter(None, [compare]), trials=60)
    study = simulated(spec, ModelCurves(spec, 0, 0.2), count=24, faults=Faults(0.2, node_losses=500.0))
    records = run(study)
    searched, again = records[:60], records[60:]
    assert len(again) == (18 if compare else 9) and study.tally.trials == len(records)
    assert min(record.started for record in again) >= max(record.finished for record in searched)
    assert {record.state for record in again} <= {State.COMPLETE, State.FAILED, State.INFEASIBLE}
    assert len({record.epochs[-1]["val_iou"] for record in again if record.epochs}) > 5, "a seed makes a difference"


def test_what_a_lost_node_trained_is_as_if_it_had_not_been_lost() -> None:
    """Every epoch of a trial is the one of its course, however often it was begun."""
    spec = spec_of(stopping("none"), trials=20)
    calm, lost = (simulated(spec, count=8, faults=faults) for faults in (CALM, Faults(node_losses=2000.0)))
    one, other = run(calm), run(lost)
    assert lost.lanes.losses > 2 and lost.lanes.results > calm.lanes.results
    for record, same in zip(one, other, strict=True):
        assert [row["val_iou"] for row in record.epochs] == [row["val_iou"] for row in same.epochs]


def test_a_lost_node_has_no_lanes_until_it_is_replaced() -> None:
    study = simulated(spec_of(stopping("none"), trials=LANES_A_NODE, epochs=3), Given(steady(0.5, 3)), LANES_A_NODE)
    study.lanes._in(15.0, lambda: study.lanes._lose(study.lanes._lanes))
    records = run(study)
    assert study._clock.seconds == pytest.approx(15 + REPAIR_SECONDS + 30, abs=5)
    # Epoch 1 ended at 10 s. Of every second lane its checkpoint had not been sent.
    assert [record.epochs[-1]["epoch"] for record in records] == [3] * LANES_A_NODE
    assert study.lanes.results == 3 * LANES_A_NODE + LANES_A_NODE // 2


def test_no_lane_is_idle_while_a_paused_trial_may_go_on() -> None:
    """Counted anew after each event, from the records alone: who is among the best third at a rung, and waits."""
    spec = spec_of(stopping("promoting_asha"), trials=150, epochs=27)
    study = simulated(spec, count=7)
    looked = 0
    for _ in study.events():
        records = list(study.recorder.records.values())
        if study.lanes.free:
            looked += 1
            assert not promotable(records), study._clock.seconds
    assert study.finish() == [] and looked > 10


def promotable(records: list[Record]) -> list[int]:
    found = []
    for epoch in milestones(1, 3, 27):
        there = [r for r in records if len(r.epochs) >= epoch]
        order = sorted(there, key=lambda r: (-max(row["val_iou"] for row in r.epochs[:epoch]), r.trial))
        found += [r.trial for r in order[: len(order) // 3] if r.paused_at == epoch]
    return found


def test_the_same_seed_is_the_same_study() -> None:
    def outcome(seed: int) -> list[Any]:
        spec = spec_of(stopping("promoting_asha"), "sampler=tpe", f"seed={seed}", trials=40)
        study = simulated(spec, ModelCurves(spec, seed, 0.1), 8, Faults(0.1, 300.0))
        return [(r.experiment, r.state, r.epochs, r.started, r.finished) for r in run(study)]

    assert outcome(1) == outcome(1) != outcome(2)


def test_violations_are_found(make_record: Any) -> None:
    spec = spec_of(trials=3)
    good = [make_record(trial, State.COMPLETE, [0.5] * 9) for trial in range(3)]
    for record in good:
        record.finished = "2026"
    assert list(violations(good, spec)) == []
    assert "2 records, not one of each of 3 trials" in list(violations(good[:2], spec))

    def wrong(**changes: Any) -> str:
        (line,) = violations([dataclasses.replace(good[0], **changes), *good[1:]], spec)
        return line

    rows = good[0].epochs
    assert "has epochs [1, 2, 2" in wrong(epochs=[*rows[:2], rows[1], *rows[3:]])
    assert "has epochs [2, 3" in wrong(epochs=rows[1:], state=State.PRUNED)
    assert "has not ended: RUNNING" in wrong(state=State.RUNNING)
    assert "is PRUNED with 9 of 9 epochs" in wrong(state=State.PRUNED)
    assert "is COMPLETE with 4 of 9 epochs" in wrong(epochs=rows[:4])
    assert "is FAILED without a reason" in wrong(state=State.FAILED)


def test_an_idle_lane_and_a_second_end_are_seen(make_record: Any) -> None:
    spec = spec_of(trials=2)
    watch = Watch(spec)
    watch.change(make_record(0))
    watch.change(make_record(0))
    study = simulated(spec, count=2)
    watch.look(study.lanes, 70.0)  # both lanes are free, and trial 1 has not begun
    assert list(watch.violations()) == [
        "trial 0 came to an end 2 times",
        "trial 1 came to an end 0 times",
        "a lane was idle at 70 s while trials waited",
    ]


def test_what_the_store_lost_is_noticed() -> None:
    study = simulated(spec_of(stopping("none"), trials=3))
    for _ in study.events():
        pass
    study.recorder.close()
    whole = next(record for record in read_records(study.store) if record.state is State.COMPLETE)
    whole.epochs.pop(0)
    write_record(study.store, whole)
    assert any(f"trial {whole.trial} has epochs [2, 3" in line for line in study.finish())


# Trials that fail


def test_a_failure_comes_in_its_epoch() -> None:
    failure = Failure(State.FAILED, "training loss is nan in epoch 3", "there", lane_lives=True)
    fails = steady(0.5, 9, failure=failure, fails_in=3)
    records = run(simulated(spec_of(stopping("none"), trials=2), Given(fails, steady(0.4, 9)), count=1))
    assert [(record.state, len(record.epochs)) for record in records] == [(State.FAILED, 2), (State.COMPLETE, 9)]
    assert (records[0].reason, records[0].traceback) == (failure.reason, "there")


# Curves of the model


def experiments(spec: Spec, count: int) -> list[Experiment]:
    return [Searcher(spec)._sampler.propose(n, n, Searcher(spec).history) for n in range(count)]


def test_model_curves_are_the_same_every_time_and_differ_by_seed_and_choices() -> None:
    spec = spec_of(name=WITH_BASELINES, trials=30, epochs=20)
    one, other = experiments(spec, 2)
    curves = ModelCurves(spec, seed=1)
    course = curves.course(one).quality_E
    assert np.array_equal(course, ModelCurves(spec, seed=1).course(one).quality_E)
    for different in (
        curves.course(other),
        curves.course(dataclasses.replace(one, seed=7)),
        ModelCurves(spec, seed=2).course(one),
    ):
        assert not np.allclose(course, different.quality_E)
    assert np.abs(course - curves.course(dataclasses.replace(one, seed=7)).quality_E).mean() < 0.03, "a replicate"


def test_model_curves_rise_cross_and_tell_good_from_bad() -> None:
    spec = spec_of(name=WITH_BASELINES, trials=30, epochs=50)
    quality_NE = np.array([ModelCurves(spec, 3).course(e).quality_E for e in experiments(spec, 60)])
    assert (quality_NE[:, -5:].mean(1) > quality_NE[:, :3].mean(1)).all()
    final, early = quality_NE[:, -10:].mean(1), quality_NE[:, 1:4].mean(1)
    assert np.ptp(final) > 0.2 and quality_NE.min() > 0 and quality_NE.max() < 1
    pairs = (early[:, None] > early) & (final[:, None] < final)
    assert 0.03 < pairs.mean() < 0.45, "some that are ahead early are behind in the end, most are not"


def test_model_failures_are_as_often_as_asked_for() -> None:
    spec = spec_of(name=WITH_BASELINES, trials=30)
    curves = ModelCurves(spec, 0, failures=0.3)
    found = Counter(str(f.state) if (f := curves.course(e).failure) else "" for e in experiments(spec, 500))
    assert 0.25 < 1 - found[""] / 500 < 0.4 and found["FAILED"] > 40 and found["INFEASIBLE"] > 40


def test_published_baselines_outside_the_space_have_curves_too() -> None:
    spec = load_spec(WITH_BASELINES, ["trials=8", "epochs=9", "sampler=random"])
    assert len(run(simulated(spec))) == 8


@pytest.mark.parametrize(("metric", "mode"), [("val_iou", "max"), ("val_loss", "min"), ("val_dice", "max")])
def test_a_row_has_the_objective_whatever_it_is(metric: str, mode: Any) -> None:
    experiment = Experiment("phantom", 64, "mobilenetv2_skip", "bce", 3, decoder_lr=1e-3, encoder_lr=1e-4)
    objective = Objective(metric, mode)
    rows = [row(LearningCurve(np.array([0.4, 0.7]), np.ones(2)), epoch, 2.0, experiment, objective) for epoch in (1, 2)]
    assert objective.kept_row(rows) is rows[1]
    assert rows[1][metric] == pytest.approx(0.7 if mode == "max" else 0.3) and rows[1]["images_per_second"] == 500


def test_the_virtual_clock() -> None:
    clock = VirtualClock()
    assert clock.now() == "2026-01-01T00:00:00+00:00"
    clock.seconds = 90_061.4
    assert clock.now() == "2026-01-02T01:01:01+00:00"
