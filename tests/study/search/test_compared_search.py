"""A comparison's search: no value learns from another, none is stopped for what another has done, and an interruption
changes neither."""

import random
from typing import Any

import pytest
from own_specs import WITH_BASELINES

from seg.experiment import Experiment
from study.search import space
from study.search.comparison import FairShares, OneSchedulerPerValue, OneSearcherPerValue, scheduler, searcher
from study.search.schedulers import Decision
from study.search.schedulers.asha import StoppingAsha
from study.search.search import Search
from study.search.searcher import Searcher
from study.spec import Spec, load_spec
from study.store.records import Record, State

PLAIN, SKIP = "mobilenetv2_plain", "mobilenetv2_skip"
GO_ON, STOP, PAUSE = Decision.GO_ON, Decision.STOP, Decision.PAUSE


def comparison(stopping: str = "asha", trials: int = 64, *more: str) -> Spec:
    early = f"early_stopping={{scheduler: {stopping}, min_epochs: 1, reduction_factor: 3}}"
    return load_spec(WITH_BASELINES, [f"trials={trials}", "epochs=9", early, "compare=model", *more])


def ended(make_record: Any, trial: int, experiment: Experiment, values: list[float], **more: Any) -> Record:
    record: Record = make_record(trial, State.COMPLETE, values, experiment=experiment, **more)
    return record


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random", "qmc"])
def test_each_value_is_searched_as_if_it_were_alone(sampler: str, make_record: Any) -> None:
    """What is proposed for one value is what a study of it alone proposes, whatever the other value's trials did: more
    trials than the sampler's random start."""
    spec = comparison("asha", 52, f"sampler={sampler}")
    shares, together = FairShares(spec), searcher(spec)
    alone = Searcher(shares.alone(SKIP))
    chance, proposed = random.Random(0), []
    for trial in range(4, 52):
        experiment = together.ask(trial)
        assert experiment.model == shares.value(trial)
        record = ended(make_record, trial, experiment, [chance.random()])
        together.tell(record)
        if experiment.model == SKIP:
            number = shares.number(trial)
            assert alone.ask(number) == experiment
            alone.tell(ended(make_record, number, experiment, [record.best["val_iou"]]))
            proposed.append(experiment)
    assert len(proposed) == 24 and len({experiment.decoder_lr for experiment in proposed}) == 24


def test_cmaes_has_its_generations_whole(make_record: Any) -> None:
    """By numbers that follow each other: those of the trials themselves are every other one."""
    pytest.importorskip("cmaes")
    numbers = [
        "sampler=cmaes",
        "search.encoder_freeze=[false]",
        "search.loss={dice_bce: {dice_weight: {low: 0.1, high: 2.0, log: true}}}",
        "search.augment=[flips]",
        "baselines=[]",
    ]
    spec = comparison("asha", 60, *numbers)
    together = searcher(spec)
    assert isinstance(together, OneSearcherPerValue)
    for trial in range(60):
        together.tell(ended(make_record, trial, together.ask(trial), [trial / 60]))
    assert all(one._sampler._generation >= 2 for one in together._each.values())  # type: ignore[attr-defined]


def test_values_begin_alike(make_record: Any) -> None:
    """Nothing is known yet: the same draws for both."""
    together = searcher(comparison())
    first, second = together.ask(4), together.ask(5)
    assert (first.model, second.model) == (PLAIN, SKIP)
    assert first.to_json() | {"model": SKIP} == second.to_json()


def test_an_interrupted_comparison_proposes_what_it_would_have(make_record: Any) -> None:
    spec = comparison()
    whole, records = searcher(spec), []
    for trial in range(4, 40):
        records.append(ended(make_record, trial, whole.ask(trial), [(trial * 7 % 10) / 10]))
        whole.tell(records[-1])
    baselines = [ended(make_record, n, e, [0.5], source=name) for n, (name, e) in enumerate(space.baselines(spec))]
    search = Search(spec, [*baselines, *records])
    proposed = [search.next() for _ in range(2)]
    assert [one.experiment for one in proposed if one] == [whole.ask(trial) for trial in (40, 41)]


# Early stopping


def test_trials_are_stopped_for_what_their_own_value_has_done() -> None:
    """The plain model reaches 0.1 to 0.3, the skip model 0.6 to 0.8: the best plain one would be the worst of all."""
    each = scheduler(comparison())
    assert isinstance(each, OneSchedulerPerValue)
    scores = {5: 0.8, 7: 0.7, 4: 0.1, 9: 0.6, 6: 0.3, 8: 0.2}
    assert [each.judge(trial, [score]) for trial, score in scores.items()] == [GO_ON, STOP, GO_ON, STOP, GO_ON, STOP]


class Alone:
    """The study of one value, beside that of both: of that value's trials it must say the same."""

    def __init__(self, spec: Spec, value: str):
        self.both, self._shares, self._value = scheduler(spec), FairShares(spec), value
        self._alone = scheduler(self._shares.alone(value))
        self._own = {self._shares.number(n): n for n in range(spec.trials) if self._shares.value(n) == value}

    def judge(self, trial: int, scores: list[float]) -> Decision:
        decision = self.both.judge(trial, scores)
        if self._shares.value(trial) == self._value:
            assert self._alone.judge(self._shares.number(trial), scores) is decision
        return decision

    def promote(self, last: bool) -> int | None:
        trial = self.both.promotable(last)
        if trial is not None:
            self.both.promote(trial)
        if trial is None or self._shares.value(trial) == self._value:
            number = self._alone.promotable(last)
            assert (None if number is None else self._own[number]) == trial
            if number is not None:
                self._alone.promote(number)
        return trial

    def settle(self) -> set[int]:
        settled = set(self.both.settle())
        own = {trial for trial in settled if self._shares.value(trial) == self._value}
        assert own == {self._own[number] for number in self._alone.settle()}
        return settled


@pytest.mark.parametrize("stopping", ["asha", "promoting_asha", "hyperband", "median", "none"])
@pytest.mark.parametrize("value", [PLAIN, SKIP])
def test_each_value_is_stopped_as_if_it_were_alone(stopping: str, value: str) -> None:
    """Every decision, pause and promotion, on four lanes."""
    study, chance = Alone(comparison(stopping, 44), value), random.Random(4)
    scores: dict[int, list[float]] = {trial: [] for trial in range(44)}
    waiting, running, ends = list(range(44)), [], dict[int, object]()
    while True:
        while len(running) < 4:
            trial = study.promote(last=not (waiting or running))
            if trial is None and waiting:
                trial = waiting.pop(0)
            if trial is None:
                break
            running.append(trial)
        if not running:
            break
        trial = chance.choice(running)
        scores[trial].append(chance.random() + trial / 100)
        ends[trial] = GO_ON if len(scores[trial]) == 9 else study.judge(trial, scores[trial])
        if len(scores[trial]) == 9 or ends[trial] is not GO_ON:
            running.remove(trial)
        ends |= dict.fromkeys(study.settle(), "settled")
    assert all(scores.values()) and len({len(found) for found in scores.values()}) > (stopping != "none")


def test_a_resumed_comparison_knows_what_each_value_did(make_record: Any) -> None:
    spec = comparison()
    asked = searcher(spec)
    records = [ended(make_record, trial, asked.ask(trial), [score]) for trial, score in ((5, 0.8), (7, 0.7), (4, 0.1))]
    begun = [make_record(trial, State.RUNNING, [0.3], experiment=asked.ask(trial), epochs=9) for trial in (6, 9)]
    search = Search(spec, [*records, *begun])
    assert [record.trial for record in search.stopped] == [9]


def test_without_a_comparison_nothing_changes(spec: Spec) -> None:
    assert isinstance(searcher(spec), Searcher) and isinstance(scheduler(spec), StoppingAsha)
