"""A search and its recorder as Ray Tune takes them: Tune starts lanes, hands them trials, and passes results on.

To Tune a trial of ours that pauses has ended, and it is a new one when it goes on: whichever lane is free takes it, and
that lane finds its checkpoint in the store, as after any interruption. So pausing needs neither checkpoints of Tune's
nor room for trials that wait.
"""

from collections.abc import Callable
from typing import Any

from ray import tune
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from study.lane import GivenBack, NotStarted
from study.recorder import Recorder
from study.schedulers import Decision
from study.search import Search

MOST_NOT_STARTED = 6
"""Lanes in a row that do not start, with none in between that begins a trial, before the study is ended."""


class LanesError(Exception):
    """Lanes do not start, wherever they are: the study ends, to be resumed."""


class _Unsaved:
    """Tune saves its parts for Tuner.restore; here the records are what is resumed from, and its copy is never used."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Trials(_Unsaved, Searcher):
    """Hands Tune the search's next trial whenever a lane is free."""

    def __init__(self, search: Search, recorder: Recorder, config: dict[str, Any], lanes: Callable[[], int]):
        """`config`: of every lane. `lanes`: how many trials may run now."""
        super().__init__()
        self._search, self._recorder, self._config, self._lanes = search, recorder, config, lanes
        self._running: set[str] = set()
        self.numbers: dict[str, int] = {}
        """Our trial's, by Tune's trial id."""

    def suggest(self, trial_id: str) -> Any:
        """The next trial's config, None while there is none for now, or Searcher.FINISHED, a text that the base class
        does not declare."""
        if self._search.finished:
            self._recorder.end_settled()  # where a budget closed since a trial last ended: nothing else would
            return Searcher.FINISHED
        if len(self._running) >= self._lanes() or (proposal := self._search.next()) is None:
            return None
        paused_at = proposal.record.paused_at if proposal.record else 0
        self._running.add(trial_id)
        self.numbers[trial_id] = proposal.trial
        self._recorder.begin(proposal)
        trial = {"trial": proposal.trial, "experiment": proposal.experiment.to_json(), "paused_at": paused_at}
        return self._config | trial

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self._running.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: see _Unsaved."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see _Unsaved."""


class Results(_Unsaved, tune.Stopper):
    """The first that Tune asks about each result, the last one of a trial included: it is recorded, and judged."""

    def __init__(self, recorder: Recorder, numbers: dict[str, int], events: "Events"):
        self._recorder, self._numbers, self._events = recorder, numbers, events

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        if result.get("started"):
            self._events.lane_started()
        return self._recorder.result(self._numbers[trial_id], result) is not Decision.GO_ON

    def stop_all(self) -> bool:
        return False


class Events(_Unsaved, tune.Callback):
    """What else Tune tells: trials that have ended, and lanes that died or did not start."""

    def __init__(self, recorder: Recorder, numbers: dict[str, int], last_round: bool, say: Callable[[str], None]):
        self._recorder, self._numbers, self._last_round = recorder, numbers, last_round
        self._say, self._said = say, set[int]()
        self._not_started: list[str] = []
        """Why, of the last lanes in a row."""

    def lane_started(self) -> None:
        self._not_started = []

    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
        self._recorder.tick()
        if len(self._not_started) >= MOST_NOT_STARTED:
            raise LanesError(f"lanes do not start: {self._not_started[-1]}")

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        self._recorder.left(self._numbers[trial.trial_id], (trial.last_result or {}).get("failure"))

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial that its lane gave back has not failed: Tune counts it among the deaths that it bounds."""
        number = self._numbers[trial.trial_id]
        error = getattr(trial.get_pickled_error(), "cause", None)
        if isinstance(error, NotStarted):
            self._not_started.append(str(error))
            self._say(f"trial {number} waits: its lane did not start: {error}")
        if isinstance(error, GivenBack):
            trial.run_metadata.num_failures -= 1
            if number not in self._said:
                self._said.add(number)
                self._say(f"trial {number} waits: {error}; `ray status` says what holds the cluster")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """The lane's own process died, where Tune does not start the trial again: before its first step, for one. That
        is no fault of the trial's: it stays as it is, for the next round."""
        number = self._numbers[trial.trial_id]
        if not self._last_round:
            self._recorder.leave(number)
            return
        error = trial.get_pickled_error()
        text = str(error or "").strip() or (type(error).__name__ if error else "the lane ended without a word")
        self._recorder.fail(number, text.splitlines()[-1], text)


class EachItsLane(FIFOScheduler):
    """A trial whose lane is starting keeps that lane: Tune's own choice of what runs next would hand it the first lane
    that is free, and end the new one. Where trials end faster than a lane starts, no lane would ever be added."""

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Nothing, so that Tune takes trials in their order: the next one gets the free lane."""
