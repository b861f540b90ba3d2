"""A comparison's search: no value learns from another, none is stopped for what another has done, and an interruption
changes neither."""

import random
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler

from seg.experiment import Experiment
from study import space
from study.compared_search import EachItsRungs, EachItsStudy, early_stopping, optuna_study
from study.comparison import narrowed, value_of
from study.records import Record, State
from study.search import AllEpochs, OptunaStudy, Rungs
from study.spec import Spec, load_spec

PLAIN, SKIP = "mobilenetv2_plain", "mobilenetv2_skip"


@pytest.fixture
def compared() -> Spec:
    return load_spec("isic", ["trials=64", "epochs=9", "early_stopping.min_epochs=1", "compare=model"])


def ended(make_record: Any, trial: int, experiment: Experiment, values: list[float], **more: Any) -> Record:
    record: Record = make_record(trial, State.COMPLETE, values, experiment=experiment, **more)
    return record


def test_each_value_is_searched_as_if_it_were_alone(compared: Spec, make_record: Any) -> None:
    """What is proposed for one value is what a study of it alone proposes, whatever the other value's trials did: more
    trials than the sampler's random start."""
    together, alone = optuna_study(compared, seed=3), OptunaStudy(narrowed(compared, SKIP), seed=3)
    assert isinstance(together, EachItsStudy)
    rng = random.Random(0)
    proposed = []
    for trial in range(4, 64):
        experiment = together.ask(trial)
        assert experiment.model == value_of(compared, trial)
        record = ended(make_record, trial, experiment, [rng.random()])
        together.tell(record)
        if experiment.model == SKIP:
            assert alone.ask(trial) == experiment
            alone.tell(record)
            proposed.append(experiment)
    assert len(proposed) == 30 and len({e.decoder_lr for e in proposed}) == 30


def test_an_interrupted_comparison_proposes_what_it_would_have(compared: Spec, make_record: Any) -> None:
    whole, records = optuna_study(compared, seed=5), []
    for trial in range(4, 40):
        records.append(ended(make_record, trial, whole.ask(trial), [(trial * 7 % 10) / 10]))
        whole.tell(records[-1])
    resumed = optuna_study(compared, seed=5)
    for record in records:
        resumed.tell(record)
    assert [resumed.ask(trial) for trial in (40, 41)] == [whole.ask(trial) for trial in (40, 41)]


def test_a_baseline_teaches_its_own_value_or_nobody(compared: Spec, make_record: Any) -> None:
    asked = optuna_study(compared, seed=0)
    assert isinstance(asked, EachItsStudy)
    inside = asked.ask(4)
    asked.tell(ended(make_record, 0, inside, [0.8], source="R1"))
    other = Experiment.from_json(
        space.baselines(compared)[0][1].to_json() | {"model": "unet", "encoder_weights": "none"}
    )
    asked.tell(ended(make_record, 1, other, [0.9], source="R2"))
    told = {value: [t.user_attrs["trial"] for t in one._study.get_trials()] for value, one in asked._studies.items()}
    assert told == {PLAIN: [4, 0], SKIP: []}


def tune_trial(trial: int, model: str) -> Any:
    return SimpleNamespace(trial_id=f"tune-{trial}", config={"experiment": {"model": model}})


def test_trials_are_stopped_for_what_their_own_value_has_done(compared: Spec) -> None:
    """The plain model reaches 0.1 to 0.3, the skip model 0.6 to 0.8: the best plain one would be the worst of all."""
    rungs = early_stopping(compared, [])
    assert isinstance(rungs, EachItsRungs)
    scores = [(SKIP, 0.8), (SKIP, 0.7), (PLAIN, 0.1), (SKIP, 0.6), (PLAIN, 0.3), (PLAIN, 0.2)]
    decisions = []
    for number, (model, score) in enumerate(scores):
        trial = tune_trial(number, model)
        rungs.on_trial_add(None, trial)
        decisions.append(rungs.on_trial_result(None, trial, {"epoch": 1, "objective": score}))
        rungs.on_trial_complete(None, trial, {"epoch": 1, "objective": score})
    go_on, stop = TrialScheduler.CONTINUE, TrialScheduler.STOP
    assert decisions == [go_on, stop, go_on, stop, go_on, stop]


def test_a_resumed_comparison_knows_each_value_s_rungs(compared: Spec, make_record: Any) -> None:
    records = [make_record(trial, State.COMPLETE, [score]) for trial, score in enumerate((0.8, 0.7, 0.6, 0.1))]
    for record, model in zip(records, (SKIP, SKIP, SKIP, PLAIN), strict=True):
        record.experiment["model"] = model
    rungs = early_stopping(compared, records)
    asked: Record = make_record(9, State.RUNNING, [0.3])
    for model, stops in ((SKIP, True), (PLAIN, False), ("unet", False)):
        asked.experiment["model"] = model
        assert rungs.stops(asked) == stops


def test_without_a_comparison_or_early_stopping_nothing_changes(spec: Spec) -> None:
    assert isinstance(optuna_study(spec, 0), OptunaStudy) and isinstance(early_stopping(spec, []), Rungs)
    whole = load_spec("isic", ["trials=64", "early_stopping.scheduler=none", "compare=model"])
    assert isinstance(early_stopping(whole, []), AllEpochs)
