"""ASHA that stops: whoever is not among the best at a rung when it gets there ends."""

import math
from collections.abc import Sequence

from study.schedulers.rung import Rung, milestones
from study.schedulers.scheduler import Decision, NeverPausing, best


class StoppingAsha(NeverPausing):
    """The variant of ASHA (Li et al. 2020, arXiv:1810.05934) that Ray Tune has as ASHAScheduler and the paper's
    authors' own system as default: a trial goes on unless its best score so far is below the best 1 / `factor` of
    those that were at the rung before it. Nothing is waited for, and nothing is taken up again."""

    def __init__(self, min_epochs: int, factor: int, epochs: int):
        self._factor = factor
        self._rungs = [Rung(epoch) for epoch in milestones(min_epochs, factor, epochs)]

    def judge(self, trial: int, scores: Sequence[float]) -> Decision:
        """A rung that was passed unjudged, as by a trial that was killed there, is judged now."""
        decision = Decision.GO_ON
        for rung in self._rungs:
            score = best(scores[: rung.epoch])
            if rung.epoch > len(scores) or trial in rung or math.isnan(score):
                continue
            if score < rung.cutoff(self._factor):
                decision = Decision.STOP
            rung.add(trial, score)
        return decision

    def remember(self, trial: int, scores: Sequence[float]) -> None:
        self.judge(trial, scores)
