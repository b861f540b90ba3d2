"""Which trials a study has yet to run: those begun, baselines, what the search may propose, and in the end the
finalists again with other seeds."""

import dataclasses
from collections.abc import Iterable, Iterator
from itertools import count, islice

from seg.experiment import Experiment
from study import space
from study.leaders import ranked
from study.objective import Objective
from study.records import REPLICATE, Record
from study.search import Proposal
from study.spec import Spec


def is_done(spec: Spec, records: list[Record]) -> bool:
    return not (any(given(spec, records)) or free(spec, records) or replicates(spec, records))


def given(spec: Spec, records: Iterable[Record]) -> Iterator[Proposal]:
    """What needs no searching: trials of an earlier session that had not ended, and baselines not yet begun."""
    begun = {record.trial for record in records}
    for record in records:
        if not record.state.ended:
            experiment = Experiment.from_json(record.experiment)
            yield Proposal(record.trial, record.source, experiment, record, record.replicate_of)
    for trial, (name, experiment) in enumerate(space.baselines(spec)):
        if trial not in begun:
            yield Proposal(trial, name, experiment)


def free(spec: Spec, records: Iterable[Record]) -> list[int]:
    """Numbers of the trials that the search has yet to propose. One may be missing in between: its first record was
    not sent. A study that is given more trials when it is resumed has those of its replicates behind it."""
    begun = {record.trial for record in records}
    repeating = {record.trial for record in records if record.replicate_of is not None}
    searched = islice((trial for trial in count() if trial not in repeating), spec.trials)
    return [trial for trial in searched if trial >= len(spec.baselines) and trial not in begun]


def replicates(spec: Spec, records: Iterable[Record]) -> list[Proposal]:
    """Of each of the best trials, its experiment with each seed that follows its own and no record has. None before
    the search has ended: who leads is not known yet."""
    searched = [record for record in records if record.replicate_of is None]
    if len(searched) < spec.trials or not all(record.state.ended for record in searched):
        return []
    taken = {record.trial for record in records}
    begun = {(record.replicate_of, record.experiment["seed"]) for record in records}
    objective = Objective(spec.objective.metric, spec.objective.mode)
    best = ranked(searched, objective)[: spec.finalists.top]
    wanted = [(one.trial, _with_seed(one, step)) for one in best for step in range(1, spec.finalists.seeds)]
    left = [(trial, experiment) for trial, experiment in wanted if (trial, experiment.seed) not in begun]
    numbers = (number for number in count(spec.trials) if number not in taken)
    return [
        Proposal(number, REPLICATE, experiment, replicate_of=trial)
        for number, (trial, experiment) in zip(numbers, left, strict=False)
    ]


def _with_seed(record: Record, step: int) -> Experiment:
    experiment = Experiment.from_json(record.experiment)
    return dataclasses.replace(experiment, seed=experiment.seed + step)
