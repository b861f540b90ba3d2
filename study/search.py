"""What a study does next: which trial a free lane takes, and which one ends or pauses after an epoch; once the search
has ended, the best trials with other seeds.

Nothing here knows of Ray, of lanes or of a clock: Tune asks it about real lanes (study.tune_loop), the simulator about
made-up ones (study.simulation).
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from seg.experiment import Experiment
from study import compared_search, space
from study.budget import UNBOUNDED, Account
from study.proposal import Proposal, going_on
from study.records import RECIPE, Record
from study.replicates import Replicates
from study.schedulers import Decision
from study.schedulers.scheduler import best
from study.spec import Spec


class Search:
    """Trials that need no searching, the searcher for the rest, and the scheduler; then seed replicates, of which
    searcher and scheduler never hear.

    The recipe is never stopped early, nor paused, nor left out for want of budget: a study cannot lose it. Nor are
    published configurations, if they are to be run whatever they cost.
    """

    def __init__(
        self,
        spec: Spec,
        earlier: Iterable[Record],
        sent: Callable[[Record], bool] = lambda record: True,
        account: Account | None = None,
        on_replicates: Callable[[Sequence[Proposal]], None] = lambda left: None,
    ):
        """`earlier`: the study's records so far. `sent`: whether the files of a record's last epoch are in the store;
        where they are not, that epoch is trained again, and judged then. `account`: of the study's budget, if any.
        `on_replicates` is told once, when the search has ended, of the replicates that are still to run."""
        self._spec, self._account = spec, account or UNBOUNDED
        published = {one.name for one in spec.baselines if one.system and spec.published == "all"}
        self._uninterrupted = {RECIPE} | published
        self._objective = spec.objective
        self._sign = 1.0 if spec.objective.mode == "max" else -1.0
        self._searcher = compared_search.searcher(spec)
        self._scheduler = compared_search.scheduler(spec)
        self._epoch_seconds: dict[int, float] = {}
        """By trial, of its quickest epoch: the first one warms up."""
        self._paused: dict[int, Record] = {}
        self._running: set[int] = set()
        self._left_over = False
        self._given: deque[Proposal] = deque()
        self.stopped: list[Record] = []
        """Killed between a decision, or the end of the budget, and its record: they have ended, though their records
        do not say so."""
        earlier = list(earlier)
        begun = [record for record in earlier if record.replicate_of is not None]
        self._replicates = Replicates(spec, begun, self._account, on_replicates)
        self.stopped += [record for record in begun if not record.state.ended and self._ends_as_it_stands(record, sent)]
        known = {record.trial: record for record in earlier if record.replicate_of is None}
        for record in known.values():
            self._note_pace(record)
            if record.state.ended:
                self._learn(record)
        for record in known.values():
            if not record.state.ended:
                self._take_up(record, sent)
        baselines = enumerate(space.baselines(spec))
        self._given.extend(Proposal(n, name, experiment) for n, (name, experiment) in baselines if n not in known)
        # One may be missing in between: its first record was not yet sent.
        self._free = deque(n for n in range(len(spec.baselines), spec.trials) if n not in known)
        self._keep_to_the_budget()

    def _learn(self, record: Record) -> None:
        self._replicates.searched(record)
        self._searcher.tell(record)
        if record.source not in self._uninterrupted:
            self._scheduler.remember(record.trial, self._scores(record))

    def _take_up(self, record: Record, sent: Callable[[Record], bool]) -> None:
        """What an earlier session left unfinished."""
        self._searcher.begin(record.trial, Experiment.from_json(record.experiment))
        scores = self._scores(record)
        if not record.paused_at and record.source not in self._uninterrupted:
            self._scheduler.remember(record.trial, scores[:-1])  # judged then; what it is now held back by is not
        if self._ends_as_it_stands(record, sent):
            self.stopped.append(record)
            return
        decision = self._judge(record, scores) if self._can_be_judged(record, sent) else Decision.GO_ON
        if decision is Decision.PAUSE:
            self._pause(record)
        elif decision is Decision.STOP:
            self.stopped.append(record)
        else:
            self._given.append(going_on(record))

    def _judge(self, record: Record, scores: list[float]) -> Decision:
        """The recipe is none of those that are compared: else a search that does not beat it early on would let nobody
        through, and leave its time unused."""
        if record.source in self._uninterrupted:
            return Decision.GO_ON
        return self._scheduler.judge(record.trial, scores)

    def _ends_as_it_stands(self, record: Record, sent: Callable[[Record], bool]) -> bool:
        if record.source in self._uninterrupted:
            return False
        return self._account.exhausted and (not record.epochs or self._can_be_judged(record, sent))

    def _can_be_judged(self, record: Record, sent: Callable[[Record], bool]) -> bool:
        """By its last epoch: that is in the store, and is not the last of a whole trial."""
        return 0 < len(record.epochs) < self._spec.epochs and (record.paused_at > 0 or sent(record))

    def next(self) -> Proposal | None:
        """The trial that a free lane takes; None where there is none, now or ever: see `finished`."""
        proposal = self._next()
        if proposal is not None:
            self._running.add(proposal.trial)
        return proposal

    def _next(self) -> Proposal | None:
        self._keep_to_the_budget()
        if self._given:
            proposal = self._given.popleft()
            self._searcher.begin(proposal.trial, proposal.experiment)
            return proposal
        if (trial := self._promotable()) is not None:
            self._scheduler.promote(trial)
            return going_on(self._paused.pop(trial))
        if self._free:
            trial = self._free.popleft()
            return Proposal(trial, "search", self._searcher.ask(trial))
        return self._replicates.next() if self._replicates.any_left(self._over) else None

    def _keep_to_the_budget(self) -> None:
        """What is begun goes on as long as anything is left; nothing is begun that may not end."""
        new = [proposal for proposal in self._given if not proposal.record]
        optional = [proposal for proposal in new if proposal.source not in self._uninterrupted]
        if (self._free or optional) and not self._account.holds_another(at_least=self._full_hours):
            self._given = deque(proposal for proposal in self._given if proposal not in optional)
            self._free.clear()
        self._replicates.keep_to_the_budget()

    @property
    def _full_hours(self) -> float:
        """Of a whole trial at the pace of the slowest one so far; 0 before there is one. A trial that is begun with
        less than that left in the budget may not become a finalist, and takes the time from one that is paused and
        can."""
        return self._spec.epochs * max(self._epoch_seconds.values(), default=0.0) / 3600

    @property
    def _over(self) -> bool:
        """Whether the search has ended: none of its trials runs, waits or is to come, in another session neither."""
        to_come = self._given or self._free or self._running or self._left_over
        return not to_come and self._promotable() is None

    def _promotable(self) -> int | None:
        """The paused trial that goes on next. At the end of a search within a budget the best one does, whatever its
        rank, as long as there is time to finish it: what is left would be of no use otherwise."""
        if self._account.exhausted:
            return None
        last = not (self._given or self._free or self._running or self._left_over)
        trial = self._scheduler.promotable(last)
        if trial is None and last and self._account.bounded and self._paused:
            trial = max(self._paused, key=lambda one: (len(self._paused[one].epochs), best(self._scores_of(one)), -one))
        return trial if trial is not None and self._can_finish(trial) else None

    def _can_finish(self, trial: int) -> bool:
        to_come = self._spec.epochs - len(self._paused[trial].epochs)
        return self._account.holds(to_come * self._epoch_seconds.get(trial, 0.0) / 3600)

    def _scores_of(self, trial: int) -> list[float]:
        return self._scores(self._paused[trial])

    @property
    def finished(self) -> bool:
        """Whether `next` has nothing more, whatever the running trials do."""
        if self._given or self._free:
            return False
        if self._running and not self._replicates.begun:
            return not (self._scheduler.pauses or self._replicates.expected)
        return self._promotable() is None and not self._replicates.any_left(self._over)

    def judge(self, record: Record) -> Decision:
        """After an epoch that is not the last."""
        self._account.change(record)
        if self._account.bounded:
            self._note_pace(record)
        if self._account.exhausted and record.source not in self._uninterrupted:
            return Decision.STOP
        if record.replicate_of is not None:
            return Decision.GO_ON
        decision = self._judge(record, self._scores(record))
        if decision is Decision.PAUSE:
            self._pause(record)
        return decision

    def _note_pace(self, record: Record) -> None:
        """Nothing of a first epoch, unless it is all there is to go by."""
        if len(record.epochs) > 1 or (record.epochs and not self._epoch_seconds):
            self._epoch_seconds[record.trial] = min(row["seconds"] for row in record.epochs[1:] or record.epochs)

    def _pause(self, record: Record) -> None:
        self._running.discard(record.trial)
        self._paused[record.trial] = record
        self._searcher.tell(record)

    def end(self, record: Record) -> None:
        """The trial has ended."""
        self._running.discard(record.trial)
        if record.replicate_of is None:
            self._replicates.searched(record)
            self._searcher.tell(record)

    def why_stopped(self, record: Record) -> str:
        epoch = record.epochs[-1]["epoch"] if record.epochs else 0
        spent = f"{self._account} spent" if self._account.exhausted else "not among the best at this rung"
        return f"stopped at epoch {epoch}: {spent}"

    def leave(self, record: Record) -> None:
        """The trial has not ended, and nothing here goes on with it: another session will."""
        self._running.discard(record.trial)
        self._left_over = True

    def settled(self) -> list[Record]:
        """Trials that were paused and will not go on, each once: they are to end."""
        trials = self._scheduler.settle()
        if self._over:
            trials += [trial for trial in self._paused if trial not in trials]
        return [self._paused.pop(trial) for trial in trials]

    def _scores(self, record: Record) -> list[float]:
        """Higher is better; NaN where an epoch has none."""
        metric, scored = self._objective.metric, self._objective.scored
        return [self._sign * row[metric] if scored(row) else math.nan for row in record.epochs]
