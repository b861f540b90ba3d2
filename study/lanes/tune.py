"""The search and the recorder as parts of Ray Tune, which starts lanes, hands them trials and passes results on.

For Tune, a trial that pauses has ended, and it is a new trial when it continues. Any free lane takes it and finds its
checkpoint in the store, as after any interruption. So pausing needs no checkpoints of Tune's and no room for waiting
trials.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from ray import tune
from ray.exceptions import RayActorError
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from study.lanes import ray_internals
from study.lanes.lane import Lane, LaneReleased, NotStarted
from study.lanes.resources import LanesError
from study.search.schedulers import Decision
from study.search.search import Search
from study.trials.messages import Failure, Report
from study.trials.recorder import Recorder

MAX_NOT_STARTED = 6
"""Failed lane starts in a row after which the study ends; a lane that begins a trial resets the count."""


LANE_RESTARTS = 20
"""The most times that a trial continues from its last epoch after its lane's own process died.

That happens if a node is lost. The process only passes messages, so a trial does not kill it. The lane counts the
deaths of its workers.
"""
MAX_LANES = 1000
"""The most lanes that Tune may run side by side. Below that, the searcher decides how many run."""


def _is_news(line: logging.LogRecord) -> bool:
    error = line.exc_info[1] if line.exc_info else None
    return not isinstance(error, RayActorError) and not isinstance(
        getattr(error, "cause", None), LaneReleased | NotStarted
    )


# Hide Tune's traceback for a trial whose lane lost its node, found no room or did not start: it continues elsewhere.
logging.getLogger(ray_internals.TUNE_LOGGER).addFilter(_is_news)


class _Unsaved:
    """A part of Tune that is saved without its state.

    Tune saves its parts for Tuner.restore. A study is resumed from its records, so Tune's copy is never used.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Trials(_Unsaved, Searcher):
    """The source of Tune's trials: the search's next trial whenever a lane is free."""

    def __init__(self, search: Search, recorder: Recorder, config: dict[str, Any], lanes: Callable[[], int]):
        """`config` is the same for every lane; `lanes` returns how many trials may run now."""
        super().__init__()
        self._search, self.recorder, self._config, self._lanes = search, recorder, config, lanes
        self._running: set[str] = set()
        self.numbers: dict[str, int] = {}
        """Our trial numbers by Tune's trial ids."""

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial's config, None if there is none for now, or Searcher.FINISHED.

        FINISHED is a string, which the base class does not declare.
        """
        if self._search.finished:
            self.recorder.end_settled()  # if a budget closed after the last trial ended, nothing else does this
            return Searcher.FINISHED
        if len(self._running) >= self._lanes() or (proposal := self._search.next()) is None:
            return None
        paused_at = proposal.record.paused_at if proposal.record else 0
        self._running.add(trial_id)
        self.numbers[trial_id] = proposal.trial
        self.recorder.begin(proposal)
        trial = {"trial": proposal.trial, "experiment": proposal.experiment.to_json(), "paused_at": paused_at}
        return self._config | trial

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self._running.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: see _Unsaved."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: see _Unsaved."""


class Results(_Unsaved, tune.Stopper):
    """The stopper that records and judges each result. Tune asks it first, also about a trial's last result."""

    def __init__(self, recorder: Recorder, numbers: dict[str, int], events: "Events"):
        self._recorder, self._numbers, self._events = recorder, numbers, events

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        report: Report = result["report"]
        if report.started:
            self._events.lane_started()
        return self._recorder.result(self._numbers[trial_id], report) is not Decision.GO_ON

    def stop_all(self) -> bool:
        return False


class Events(_Unsaved, tune.Callback):
    """The callback for Tune's other events: trials that ended, and lanes that died or did not start."""

    def __init__(self, recorder: Recorder, numbers: dict[str, int], last_round: bool, say: Callable[[str], None]):
        self._recorder, self._numbers, self._last_round = recorder, numbers, last_round
        self._say, self._said = say, set[int]()
        self._not_started: list[str] = []
        """Reasons why the last lanes in a row did not start."""

    def lane_started(self) -> None:
        self._not_started = []

    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
        self._recorder.tick()
        if len(self._not_started) >= MAX_NOT_STARTED:
            raise LanesError(f"lanes do not start: {self._not_started[-1]}")

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        last: Report | None = (trial.last_result or {}).get("report")
        failure = last.outcome if last and isinstance(last.outcome, Failure) else None
        self._recorder.left(self._numbers[trial.trial_id], failure)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Report a trial whose lane did not start or gave it back.

        A trial that was given back has not failed, so it is taken off the failures that Tune counts.
        """
        number = self._numbers[trial.trial_id]
        error = getattr(trial.get_pickled_error(), "cause", None)
        if isinstance(error, NotStarted):
            self._not_started.append(str(error))
            self._say(f"trial {number} waits: its lane did not start: {error}")
        if isinstance(error, LaneReleased):
            trial.run_metadata.num_failures -= 1
            if number not in self._said:
                self._said.add(number)
                self._say(f"trial {number} waits: {error}; `ray status` says what holds the cluster")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Handle the death of a lane's own process if Tune does not restart its trial.

        One such death is that before the trial's first step. The trial is not at fault: it stays as it is for the next
        round, and fails only in the last round.
        """
        number = self._numbers[trial.trial_id]
        if not self._last_round:
            self._recorder.leave(number)
            return
        error = trial.get_pickled_error()
        silent = type(error).__name__ if error else "the lane's process ended without an error message"
        text = str(error or "").strip() or silent
        self._recorder.fail(number, text.splitlines()[-1], text)


class OneTrialPerLaneScheduler(FIFOScheduler):
    """A scheduler that lets a trial keep the lane that is starting for it.

    Tune's own choice of the next trial would give it the first free lane and end the new one. If trials end faster
    than a lane starts, no lane would ever be added.
    """

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Return None, so that Tune takes trials in their order and the next one gets the free lane."""


def run(study: str, trials: Trials, events: Events, most_lanes: int, scratch: str) -> None:
    """Run the trials on lanes until none is left. `scratch`: a folder for Tune's own files."""
    tune.Tuner(
        Lane,
        tune_config=tune.TuneConfig(
            search_alg=trials,
            scheduler=OneTrialPerLaneScheduler(),
            num_samples=-1,  # no limit: to Tune, a trial that continues after a pause is a new one
            max_concurrent_trials=min(most_lanes, MAX_LANES),
            reuse_actors=True,
            trial_name_creator=partial(_trial_name, study),
            trial_dirname_creator=partial(_trial_name, study),
        ),
        run_config=tune.RunConfig(
            name=study,
            storage_path=scratch,
            stop=Results(trials.recorder, trials.numbers, events),
            callbacks=[events],
            failure_config=tune.FailureConfig(max_failures=LANE_RESTARTS),
            # Workers save the checkpoints. Tune would look for the driver's folder on the lane's node.
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    ).fit()


def _trial_name(study: str, trial: Any) -> str:
    """Return a trial's name for Tune.

    Not a lambda in `run`: Tune pickles it with every trial, and a lambda would take all that `run` holds along.
    """
    return f"{study}-{trial.config['trial']}"
