"""The decisions of a study: which trial a free lane takes, and which trial stops or pauses after an epoch.

Once the search has ended, the best trials are repeated with other seeds. This module does not know Ray, lanes, or a
clock: Ray Tune asks it about its lanes (study.lanes.tune), study.lanes.in_process about the study's own, and the
simulator about simulated ones (study.simulation).
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from seg.experiment import Experiment
from study.search import comparison, space
from study.search.account import UNBOUNDED, Account
from study.search.replicates import Replicates
from study.search.schedulers import Decision
from study.search.schedulers.scheduler import best
from study.search.searcher import Proposal, going_on
from study.spec import Spec
from study.store.records import RECIPE, Record


class Search:
    """The search of a study: first the trials that are given, then those that the searcher proposes, then replicates.

    The scheduler stops and pauses trials. Neither it nor the searcher ever sees the replicates. The recipe is never
    stopped early, paused, or left out to save budget: a study cannot lose it. The same holds for published
    configurations if they are to be run at any cost.
    """

    def __init__(
        self,
        spec: Spec,
        earlier: Iterable[Record],
        sent: Callable[[Record], bool] = lambda record: True,
        account: Account | None = None,
        on_replicates: Callable[[Sequence[Proposal]], None] = lambda left: None,
    ):
        """Continue the study after its records so far, `earlier`.

        `sent`: whether the files of a record's last epoch are in the store; if not, that epoch is trained again and
        judged then. `account`: the account of the study's budget, if it has one. `on_replicates` is called once, when
        the search has ended, with the replicates that are still to run.
        """
        self._spec, self._account = spec, account or UNBOUNDED
        published = {one.name for one in spec.baselines if one.system and spec.published == "all"}
        # If nothing is searched, the budget would otherwise leave a study of one configuration without a result.
        first = {spec.baselines[0].name} if spec.search is None else set()
        self._uninterrupted = {RECIPE} | published | first
        self._objective = spec.objective
        self._sign = 1.0 if spec.objective.mode == "max" else -1.0
        self._searcher = comparison.searcher(spec)
        self._scheduler = comparison.scheduler(spec)
        self._epoch_seconds: dict[int, float] = {}
        """Seconds of each trial's fastest epoch. The first epoch is slower because it includes the warm-up."""
        self._paused: dict[int, Record] = {}
        self._running: set[int] = set()
        self._left_over = False
        self._given: deque[Proposal] = deque()
        self.stopped: list[Record] = []
        """Trials that have ended although their records do not say so.

        They were killed after the decision to stop them, or the end of the budget, but before that was recorded.
        """
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
        # A number in between may be missing from the records if its first record was not sent in time.
        self._free = deque(n for n in range(len(spec.baselines), spec.trials) if n not in known)
        self._keep_to_the_budget()

    def _learn(self, record: Record) -> None:
        self._replicates.searched(record)
        self._searcher.tell(record)
        if record.source not in self._uninterrupted:
            self._scheduler.remember(record.trial, self._scores(record))

    def _take_up(self, record: Record, sent: Callable[[Record], bool]) -> None:
        """Take up a trial that an earlier session left unfinished."""
        self._searcher.begin(record.trial, Experiment.from_json(record.experiment))
        scores = self._scores(record)
        if not record.paused_at and record.source not in self._uninterrupted:
            self._scheduler.remember(record.trial, scores[:-1])  # judged then; the last epoch may not have been
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
        """Return the scheduler's decision; trials that are never stopped early go on.

        The recipe is not compared with the others. Otherwise a search that does not beat it early on would promote no
        trial and leave its time unused.
        """
        if record.source in self._uninterrupted:
            return Decision.GO_ON
        return self._scheduler.judge(record.trial, scores)

    def _ends_as_it_stands(self, record: Record, sent: Callable[[Record], bool]) -> bool:
        if record.source in self._uninterrupted:
            return False
        return self._account.exhausted and (not record.epochs or self._can_be_judged(record, sent))

    def _can_be_judged(self, record: Record, sent: Callable[[Record], bool]) -> bool:
        """Whether the trial's last epoch so far is in the store, and is not the last epoch of a full trial."""
        return 0 < len(record.epochs) < self._spec.epochs and (record.paused_at > 0 or sent(record))

    def next(self) -> Proposal | None:
        """Return the trial that a free lane takes; None if there is none for now or ever (see `finished`)."""
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
        """Drop new trials that may not end within the budget. Trials already begun go on while any budget is left."""
        new = [proposal for proposal in self._given if not proposal.record]
        optional = [proposal for proposal in new if proposal.source not in self._uninterrupted]
        if (self._free or optional) and not self._account.holds_another(at_least=self._full_hours):
            self._given = deque(proposal for proposal in self._given if proposal not in optional)
            self._free.clear()
        self._replicates.keep_to_the_budget()

    @property
    def _full_hours(self) -> float:
        """Hours of a full trial at the pace of the slowest trial so far; 0 if there is no trial yet.

        A trial that begins with less than that left in the budget may be unable to become a finalist. It would take
        the time from a paused trial that can.
        """
        return self._spec.epochs * max(self._epoch_seconds.values(), default=0.0) / 3600

    @property
    def _over(self) -> bool:
        """Whether the search has ended: no trial runs, may go on, or is still to come, even in another session."""
        to_come = self._given or self._free or self._running or self._left_over
        return not to_come and self._promotable() is None

    def _promotable(self) -> int | None:
        """Return the paused trial that goes on next, if there is time to finish it.

        At the end of a search with a budget, a paused trial goes on whatever its rank: the best of those with the most
        epochs. Otherwise the rest of the budget would be of no use.
        """
        if self._account.exhausted:
            return None
        last = not (self._given or self._free or self._running or self._left_over)
        trial = self._scheduler.promotable(last)
        if trial not in self._paused:  # the scheduler does not know that this trial was ended for want of time
            trial = None
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
        """Whether `next` will never return another trial, whatever the running trials do."""
        if self._given or self._free:
            return False
        if self._running and not self._replicates.begun:
            return not (self._scheduler.pauses or self._replicates.expected)
        return self._promotable() is None and not self._replicates.any_left(self._over)

    def judge(self, record: Record) -> Decision:
        """Decide about a trial after an epoch that is not its last."""
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
        """Note the time of the trial's fastest epoch. A first epoch counts only if nothing else is known."""
        if len(record.epochs) > 1 or (record.epochs and not self._epoch_seconds):
            self._epoch_seconds[record.trial] = min(row["seconds"] for row in record.epochs[1:] or record.epochs)

    def _pause(self, record: Record) -> None:
        self._running.discard(record.trial)
        self._paused[record.trial] = record
        self._searcher.tell(record)

    def end(self, record: Record) -> None:
        """Note that the trial has ended."""
        self._running.discard(record.trial)
        if record.replicate_of is None:
            self._replicates.searched(record)
            self._searcher.tell(record)

    def why_stopped(self, record: Record) -> str:
        epoch = record.epochs[-1]["epoch"] if record.epochs else 0
        spent = f"{self._account} spent" if self._account.exhausted else "not among the best at this rung"
        return f"stopped at epoch {epoch}: {spent}"

    def leave(self, record: Record) -> None:
        """Note that the trial has not ended, and that only another session will go on with it."""
        self._running.discard(record.trial)
        self._left_over = True

    def settled(self) -> list[Record]:
        """Return the paused trials that will not go on and must end. Each trial is returned only once."""
        trials = self._scheduler.settle()
        if self._over:
            trials += [trial for trial in self._paused if trial not in trials]
        return [self._paused.pop(trial) for trial in trials]

    def _scores(self, record: Record) -> list[float]:
        """Return the score of each epoch: higher is better, NaN if an epoch has none."""
        metric, scored = self._objective.metric, self._objective.scored
        return [self._sign * row[metric] if scored(row) else math.nan for row in record.epochs]
