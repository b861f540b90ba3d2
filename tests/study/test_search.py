"""The searcher and the rungs, driven by hand with made-up results; Ray is imported, not started."""

import dataclasses
import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from seg.experiment import Experiment
from study import space
from study.objective import Objective
from study.records import Record, State
from study.search import AllEpochs, OptunaStudy, Proposal, Rungs, StudySearcher, scheduler
from study.spec import Spec, load_spec


def frozen(study: OptunaStudy) -> dict[int, FrozenTrial]:
    """What Optuna knows, by our trial numbers."""
    return {trial.user_attrs["trial"]: trial for trial in study._study.get_trials()}


def experiment_of(spec: Spec, seed: int) -> Experiment:
    """One that the search could have proposed."""
    sampler = optuna.samplers.RandomSampler(seed=seed)
    return space.suggest(optuna.create_study(sampler=sampler).ask(), spec)


def many() -> int:
    """Lanes."""
    return 1000


def tune_trial(tune_id: str, replicate_of: int | None = None) -> Any:
    """As much of Tune's trial as a scheduler looks at."""
    return SimpleNamespace(trial_id=tune_id, config={"replicate_of": replicate_of})


def proposals(searcher: StudySearcher) -> Iterator[dict[str, Any]]:
    number = 0
    while (config := searcher.suggest(f"tune-{number}")) != Searcher.FINISHED:
        yield config
        number += 1


# What is proposed, in which order


def test_given_trials_come_first_then_the_search_until_all_are_out(spec: Spec, make_record: Any) -> None:
    going_on = Proposal(7, "search", experiment_of(spec, 7), make_record(7, State.RUNNING))
    baselines = [Proposal(n, name, e) for n, (name, e) in enumerate(space.baselines(spec))]
    searcher = StudySearcher(
        [going_on, *baselines], range(8, 11), OptunaStudy(spec, seed=0), {"settings": "shared"}, many
    )
    seen: list[Proposal] = []
    searcher.on_proposal = lambda tune_id, proposal: seen.append(proposal)
    configs = list(proposals(searcher))
    assert [config["trial"] for config in configs] == [7, 0, 1, 2, 3, 8, 9, 10]
    assert all(config["settings"] == "shared" for config in configs)
    assert [p.source for p in seen] == ["search", *(b.name for b in spec.baselines), "search", "search", "search"]
    assert [Experiment.from_json(config["experiment"]) for config in configs] == [p.experiment for p in seen]
    assert searcher.proposals["tune-1"] == baselines[0]
    assert searcher.suggest("one more") == Searcher.FINISHED


def test_no_more_trials_at_a_time_than_there_are_lanes(spec: Spec) -> None:
    lanes = 2
    searcher = StudySearcher([], range(4, 9), OptunaStudy(spec, seed=0), {}, lambda: lanes)
    assert [bool(searcher.suggest(f"tune-{n}")) for n in range(3)] == [True, True, False]
    lanes = 3  # a node joined
    assert searcher.suggest("tune-2") and searcher.suggest("tune-3") is None
    lanes = 2  # and left again: the next trial that ends makes room for none
    searcher.on_trial_complete("tune-0")
    assert searcher.suggest("tune-3") is None
    searcher.on_trial_complete("tune-1")
    assert searcher.suggest("tune-3")


def test_what_comes_afterwards_waits_for_all_before_it(spec: Spec) -> None:
    asked: list[None] = []

    def afterwards() -> list[Proposal]:
        asked.append(None)
        return [Proposal(6, "replicate", experiment_of(spec, 1), replicate_of=4)]

    searcher = StudySearcher([], range(4, 6), OptunaStudy(spec, seed=0), {}, many, afterwards)
    configs = [searcher.suggest(f"tune-{n}") for n in range(3)]
    assert [config and config["replicate_of"] for config in configs] == [None, None, None]
    assert configs[0] and configs[1] and configs[2] is None, "two of the search run"
    searcher.on_trial_complete("tune-1")
    assert searcher.suggest("tune-2") is None and not asked
    searcher.on_trial_complete("tune-0")
    last = searcher.suggest("tune-2")
    assert (last["trial"], last["replicate_of"], len(asked)) == (6, 4, 1)
    assert searcher.suggest("tune-3") == Searcher.FINISHED and len(asked) == 1


def test_a_searched_trial_can_be_run_and_was_asked_of_optuna(spec: Spec) -> None:
    study = OptunaStudy(spec, seed=0)
    configs = list(proposals(StudySearcher([], range(4, 9), study, {}, many)))
    assert sorted(frozen(study)) == [4, 5, 6, 7, 8]
    for config in configs:
        experiment = Experiment.from_json(config["experiment"])
        told = space.told(experiment, spec)
        assert told is not None and told[0] == frozen(study)[config["trial"]].params


def test_tune_keeps_no_copy_of_the_searcher(spec: Spec, tmp_path: Any) -> None:
    searcher = StudySearcher([], range(0, 3), OptunaStudy(spec, seed=0), {}, many)
    searcher.save(str(tmp_path / "state"))
    assert searcher.__getstate__() == {} and not list(tmp_path.iterdir())


# What Optuna is told


def asked_record(study: OptunaStudy, make_record: Any, trial: int, *arguments: Any, **more: Any) -> Record:
    record: Record = make_record(trial, *arguments, experiment=study.ask(trial), **more)
    return record


def test_a_complete_trial_has_its_best_value(spec: Spec, make_record: Any) -> None:
    study = OptunaStudy(spec, seed=0)
    study.tell(asked_record(study, make_record, 5, State.COMPLETE, [0.2, 0.7, 0.6]))
    trial = frozen(study)[5]
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.7)
    assert trial.intermediate_values == {1: 0.2, 2: 0.7, 3: 0.6}


def test_a_pruned_trial_is_pruned_with_every_value(spec: Spec, make_record: Any) -> None:
    study = OptunaStudy(spec, seed=0)
    study.tell(asked_record(study, make_record, 5, State.PRUNED, [0.2, 0.3, 0.25]))
    trial = frozen(study)[5]
    assert trial.state is TrialState.PRUNED
    assert trial.intermediate_values == {1: 0.2, 2: 0.3, 3: 0.25}


@pytest.mark.parametrize("state", [State.FAILED, State.INFEASIBLE])
@pytest.mark.parametrize("values", [[], [0.9]])
def test_a_failed_trial_never_has_a_score(spec: Spec, make_record: Any, state: State, values: list[float]) -> None:
    live, resumed = OptunaStudy(spec, seed=0), OptunaStudy(spec, seed=0)
    record = asked_record(live, make_record, 5, state, values)
    live.tell(record)
    resumed.tell(record)
    for study in (live, resumed):
        assert frozen(study)[5].state is TrialState.FAIL and frozen(study)[5].value is None


@pytest.mark.parametrize("state", [State.COMPLETE, State.PRUNED])
def test_a_trial_whose_objective_was_never_a_number_has_no_score(spec: Spec, make_record: Any, state: State) -> None:
    study = OptunaStudy(spec, seed=0)
    study.tell(asked_record(study, make_record, 5, state, [float("nan"), None]))
    assert frozen(study)[5].state is TrialState.FAIL


def test_baselines_are_told_only_where_the_search_could_have_proposed_them(spec: Spec, make_record: Any) -> None:
    """isic's baselines use adam, its search adamw; one with adamw and the rest inside is known to the search."""
    study = OptunaStudy(spec, seed=0)
    for number, (name, experiment) in enumerate(space.baselines(spec)):
        study.tell(make_record(number, State.COMPLETE, [0.8], experiment=experiment, source=name))
    assert frozen(study) == {}
    inside = experiment_of(spec, seed=1)
    study.tell(make_record(4, State.COMPLETE, [0.6], experiment=inside, source="R1"))
    assert frozen(study)[4].value == 0.6
    outside = dataclasses.replace(inside, weight_decay=0.5)
    study.tell(make_record(5, State.COMPLETE, [0.9], experiment=outside, source="R2"))
    assert sorted(frozen(study)) == [4]


def test_mode_min_is_minimised(make_record: Any) -> None:
    spec = load_spec("isic", ["objective.metric=val_loss", "objective.mode=min"])
    study = OptunaStudy(spec, seed=0)
    for trial, value in enumerate((0.5, 0.2, 0.3)):
        kind = {"metric": "val_loss", "mode": "min"}
        study.tell(asked_record(study, make_record, trial, State.COMPLETE, [0.9, value], **kind))
    assert study._study.best_trial.user_attrs["trial"] == 1 and study._study.best_value == 0.2


# Resuming


def session(spec: Spec, make_record: Any, count: int = 24) -> tuple[OptunaStudy, list[Record]]:
    """A study's searched trials, each ended in one of the ways there are."""
    rng = random.Random(3)
    study, records = OptunaStudy(spec, seed=0), []
    for trial in range(count):
        state = rng.choice([State.COMPLETE, State.COMPLETE, State.PRUNED, State.FAILED, State.INFEASIBLE])
        values = [round(rng.random(), 3) for _ in range(9 if state is State.COMPLETE else rng.randrange(4))]
        records.append(asked_record(study, make_record, trial, state, values))
        study.tell(records[-1])
    return study, records


def test_a_resumed_study_knows_what_it_knew(spec: Spec, make_record: Any) -> None:
    before, records = session(spec, make_record)
    after = OptunaStudy(spec, seed=0)
    for record in records:
        after.tell(record)
    assert sorted(frozen(after)) == list(range(24))
    for number, was in frozen(before).items():
        now = frozen(after)[number]
        assert (now.state, now.value, now.params) == (was.state, was.value, was.params)
        assert (now.intermediate_values, now.distributions) == (was.intermediate_values, was.distributions)


def test_the_search_is_a_function_of_records_and_seed(spec: Spec, make_record: Any) -> None:
    _, records = session(spec, make_record)
    proposed = []
    for seed in (5, 5, 6):
        study = OptunaStudy(spec, seed)
        for record in records:
            study.tell(record)
        proposed.append([study.ask(24 + number) for number in range(3)])
    assert proposed[0] == proposed[1] != proposed[2]


@pytest.mark.parametrize("cut", [0, 3, 11, 17])
def test_an_interrupted_search_proposes_what_it_would_have(spec: Spec, make_record: Any, cut: int) -> None:
    """On one lane: a new process, told of the records so far, goes on as the first one would have."""

    def go_on(study: OptunaStudy, records: list[Record], until: int) -> list[Record]:
        for trial in range(len(records), until):
            values = [((trial * 7) % 10) / 10]
            record = make_record(trial, State.COMPLETE, values, experiment=study.ask(trial))
            study.tell(record)
            records = [*records, record]
        return records

    whole = go_on(OptunaStudy(spec, seed=3), [], 18)
    first = go_on(OptunaStudy(spec, seed=3), [], cut)
    again = OptunaStudy(spec, seed=3)
    for record in first:
        again.tell(record)
    assert [r.experiment for r in go_on(again, first, 18)] == [r.experiment for r in whole]


# Rungs


class Run:
    """Trials under a scheduler as Tune has them: each epoch is judged, in an interleaved order, until all ended."""

    def __init__(self, spec: Spec, objective: Objective, curves: dict[int, list[float]], order: list[int]):
        self.spec, self.objective, self.curves, self.order = spec, objective, curves, order
        self.rows: dict[int, list[dict[str, Any]]] = {trial: [] for trial in curves}
        self.ended: dict[int, str] = {}

    @property
    def running(self) -> list[int]:
        return [trial for trial, rows in self.rows.items() if rows and trial not in self.ended]

    def go(self, rungs: TrialScheduler, start: int, stop: int, key: str) -> None:
        """Epochs `start` to `stop` of the order, with ids that begin with `key`."""
        tune_trials = {trial: self._add(rungs, trial, f"{key}-{trial}") for trial in self.running}
        for trial in self.order[start:stop]:
            if trial in self.ended:
                continue
            if trial not in tune_trials:
                tune_trials[trial] = self._add(rungs, trial, f"{key}-{trial}")
            self._epoch(rungs, trial, tune_trials[trial])

    def _add(self, rungs: TrialScheduler, trial: int, tune_id: str) -> Any:
        added = tune_trial(tune_id)
        rungs.on_trial_add(None, added)  # type: ignore[arg-type]
        if isinstance(rungs, Rungs):
            rungs.remember(tune_id, self.rows[trial], self.objective)
        return added

    def _epoch(self, rungs: TrialScheduler, trial: int, tune_trial: Any) -> None:
        rows = self.rows[trial]
        rows.append({"epoch": len(rows) + 1, self.objective.metric: self.curves[trial][len(rows)]})
        best = self.objective.best_row(rows)
        assert best is not None
        result = {"epoch": len(rows), "objective": best[self.objective.metric]}
        if len(rows) == self.spec.epochs:
            rungs.on_trial_complete(None, tune_trial, result)  # type: ignore[arg-type]
            self.ended[trial] = "COMPLETE"
        elif rungs.on_trial_result(None, tune_trial, result) == TrialScheduler.STOP:  # type: ignore[arg-type]
            rungs.on_trial_complete(None, tune_trial, result)  # type: ignore[arg-type]
            self.ended[trial] = f"PRUNED at {len(rows)}"


def run_of(spec: Spec, objective: Objective, seed: int, trials: int = 30) -> Run:
    """Curves that rise or fall noisily; three trials run side by side, as on three lanes."""
    rng = random.Random(seed)
    sign = 1 if objective.mode == "max" else -1
    curves = {}
    for trial in range(trials):
        quality = rng.random()
        curves[trial] = [sign * (quality * epoch / 9 + rng.gauss(0, 0.1)) for epoch in range(1, spec.epochs + 1)]
    waiting, lanes, order = list(range(trials)), [], []
    left = dict.fromkeys(range(trials), spec.epochs)
    while waiting or lanes:
        while waiting and len(lanes) < 3:
            lanes.append(waiting.pop(0))
        trial = rng.choice(lanes)
        order.append(trial)
        left[trial] -= 1
        if not left[trial]:
            lanes.remove(trial)
    return Run(spec, objective, curves, order)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("metric", "mode"), [("val_iou", "max"), ("val_loss", "min")])
def test_a_restart_changes_no_decision(make_record: Any, seed: int, metric: Any, mode: Any) -> None:
    overrides = [
        "trials=30",
        "epochs=9",
        "early_stopping.min_epochs=1",
        f"objective={{metric: {metric}, mode: {mode}}}",
    ]
    spec, objective = load_spec("isic", overrides), Objective(metric, mode)
    whole = run_of(spec, objective, seed)
    end = len(whole.order)
    whole.go(Rungs(spec), 0, end, "only")
    assert {"COMPLETE", "PRUNED at 1", "PRUNED at 3"} <= set(whole.ended.values())

    cut, middle, first = run_of(spec, objective, seed), end // 2, scheduler(spec, [], objective)
    cut.go(first, 0, middle, "first")
    while not cut.running:  # a cut that interrupts nobody shows little
        middle += 1
        cut.go(first, middle - 1, middle, "first")
    assert 5 < len(cut.ended) < 25
    values = {trial: [row[metric] for row in rows] for trial, rows in cut.rows.items()}
    ended = [make_record(trial, values=values[trial], metric=metric, mode=mode) for trial in cut.ended]
    second = scheduler(spec, ended, objective)
    assert isinstance(second, Rungs)
    cut.go(second, middle, end, "second")
    assert cut.ended == whole.ended
    assert cut.rows == whole.rows


def test_epochs_run_again_after_a_restart_count_once(spec: Spec, objective: Objective) -> None:
    """A killed trial's checkpoint may be an epoch behind its record: the rung keeps the first value."""
    rungs = Rungs(spec)
    rows = [{"epoch": 1, "val_iou": 0.5}, {"epoch": 2, "val_iou": 0.6}]
    rungs.remember("again", rows, objective)
    before = rungs.debug_string()
    trial = tune_trial("again")
    rungs.on_trial_add(None, trial)  # type: ignore[arg-type]
    assert rungs.on_trial_result(None, trial, {"epoch": 1, "objective": 0.5}) == TrialScheduler.CONTINUE  # type: ignore[arg-type]
    assert rungs.debug_string() == before


def test_a_trial_taken_up_again_brings_its_epochs_along(spec: Spec) -> None:
    """Its rung at epoch 1 was passed in an earlier session; what is judged now is what it does next."""
    rungs = Rungs(spec)
    rows = [{"epoch": 1, "val_iou": 0.1}, {"epoch": 2, "val_iou": 0.2}]
    trial = tune_trial("again")
    rungs.on_trial_add(None, trial)  # type: ignore[arg-type]
    result = {"epoch": 3, "objective": 0.3, "started": SimpleNamespace(rows=rows)}
    assert rungs.on_trial_result(None, trial, result) == TrialScheduler.CONTINUE  # type: ignore[arg-type]
    by_epoch = {milestone: recorded for milestone, recorded in rungs._brackets[0]._rungs}
    assert by_epoch[1] == {"again": 0.1} and by_epoch[3] == {"again": 0.3}


def test_a_trial_killed_at_a_rung_is_judged_when_it_is_taken_up(
    spec: Spec, make_record: Any, objective: Objective
) -> None:
    """Its checkpoint is of the rung, its record of the epoch before: nobody has judged it there."""
    rungs = scheduler(spec, [make_record(trial, values=[0.5, 0.6, 0.7]) for trial in range(6)], objective)
    trial = tune_trial("again")
    rungs.on_trial_add(None, trial)  # type: ignore[arg-type]
    bad = [{"epoch": epoch, "val_iou": 0.1} for epoch in (1, 2, 3)]
    result = {"epoch": 4, "objective": 0.1, "started": SimpleNamespace(rows=bad)}
    assert rungs.on_trial_result(None, trial, result) == TrialScheduler.STOP  # type: ignore[arg-type]


def test_a_replicate_is_not_stopped_however_bad(spec: Spec, make_record: Any, objective: Objective) -> None:
    ended = [make_record(trial, values=[0.5, 0.6, 0.7]) for trial in range(6)]
    for replicate_of, decision in ((None, TrialScheduler.STOP), (2, TrialScheduler.CONTINUE)):
        rungs = scheduler(spec, ended, objective)
        trial = tune_trial("again", replicate_of)
        rungs.on_trial_add(None, trial)  # type: ignore[arg-type]
        assert rungs.on_trial_result(None, trial, {"epoch": 3, "objective": 0.1}) == decision  # type: ignore[arg-type]


def test_whether_a_killed_trial_was_to_stop(spec: Spec, make_record: Any, objective: Objective) -> None:
    """The last epoch decides, at a rung only; asking changes nothing."""
    ended = [make_record(trial, values=[0.5, 0.6, 0.7]) for trial in range(6)]
    rungs = scheduler(spec, ended, objective)
    assert isinstance(rungs, Rungs)
    before = rungs.debug_string()
    bad, good = ([{"epoch": e, "val_iou": v} for e in (1, 2, 3)] for v in (0.1, 0.9))
    assert rungs.stops(bad[:1]) and not rungs.stops(good[:1])
    assert not rungs.stops([]) and not rungs.stops(bad[:2]), "epoch 2 is no rung"
    assert rungs.stops(bad)
    assert rungs.debug_string() == before


def test_epochs_without_a_score_reach_no_rung(spec: Spec, objective: Objective) -> None:
    rungs = Rungs(spec)
    rungs.remember("nan", [{"epoch": 1, "val_iou": None}, {"epoch": 3, "val_iou": None}], objective)
    assert rungs.debug_string() == Rungs(spec).debug_string()


def test_scheduler_none_stops_nobody(spec: Spec, objective: Objective, make_record: Any) -> None:
    spec = load_spec("isic", ["early_stopping.scheduler=none"])
    assert type(scheduler(spec, [make_record(0)], objective)) is AllEpochs
