"""The only module that uses what Ray does not promise to keep: each use with its reason, and what happens without it.

`lacking` returns the uses that the installed Ray does not have. Where a public way exists, a study goes on by it.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import Any

import ray
import ray.train
import ray.train.torch

from seg.errors import UserError

TUNE_LOGGER = "ray.tune.execution.tune_controller"
"""The logger on which Tune prints a traceback for each lane that it lost. Without it, people see these tracebacks."""
NO_ROOM = "WorkerGroupStartupTimeoutError"
"""The name of the error that ends a worker group whose resources did not become free in time."""
VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Tune writes no result files of its own beside our records.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # A result may lack the objective: a failed trial has none.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # The driver handles Ctrl-C.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    # Tune's old display, which prints nothing at verbosity 0.
    "RAY_AIR_NEW_OUTPUT": "0",
    # Lanes watch for ending nodes themselves; Ray's watcher is one more process per lane.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # Seconds between two checks of the workers: their start, end or death is noticed at most this much later.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
}
"""Environment variables that Ray reads when it is used. A variable that is set already keeps its value."""


def prepare_process(**more: str) -> None:
    """Set VARIABLES and `more` in this process, before it uses Ray.

    Called once at the start of a driver and of a lane.
    """
    for name, value in (VARIABLES | more).items():
        os.environ.setdefault(name, value)


def start_coordinator() -> None:
    """Start the actor that Ray Train asks for resources. Without this, the first lane starts it and waits for it."""
    with contextlib.suppress(ImportError, AttributeError):
        _coordinator()()


def _coordinator() -> Callable[[], Any]:
    from ray.data._internal.cluster_autoscaler import default_autoscaling_coordinator

    found: Callable[[], Any] = default_autoscaling_coordinator.get_or_create_autoscaling_coordinator
    return found


def dashboard_url() -> str:
    """Return the address of the dashboard of the Ray that this process is connected to; empty if it is not known."""
    with contextlib.suppress(ImportError, AttributeError):
        return str(_dashboard()() or "")
    return ""


def _dashboard() -> Callable[[], Any]:
    import ray._private.worker

    found: Callable[[], Any] = ray._private.worker.get_dashboard_url
    return found


def draining_nodes() -> set[str]:
    """Return the ids of nodes that are about to end: spot instances, or nodes that the autoscaler removes.

    Without it the set is empty: a lane moves only after its node is gone, and loses the epoch that it was in.
    """
    try:
        return set(_draining()())
    except (ImportError, AttributeError):
        return set()


def _draining() -> Callable[[], Any]:
    import ray._private.state

    found: Callable[[], Any] = ray._private.state.state.get_draining_nodes
    return found


def trainer() -> type[Any]:
    """Return a TorchTrainer that needs two processes less per lane.

    It runs without Ray Data, and its controller is in the lane's own process, which only waits. Without the parts that
    it overrides, this is Ray's own TorchTrainer.
    """
    try:
        data_callback, controller = _trainer_parts()
    except (ImportError, AttributeError):
        return ray.train.torch.TorchTrainer

    class Trainer(ray.train.torch.TorchTrainer):
        def _create_default_callbacks(self) -> list[Any]:
            callbacks = super()._create_default_callbacks()  # type: ignore[misc]
            return [callback for callback in callbacks if not isinstance(callback, data_callback)]

        def _initialize_and_run_controller(self, **parts: Any) -> Any:
            if not ray.get_runtime_context().get_actor_id():  # workers need an actor as their controller
                return super()._initialize_and_run_controller(**parts)  # type: ignore[misc]
            running = controller(**parts)
            asyncio.run(running.run())
            return running.get_result()

    return Trainer


def _trainer_parts() -> tuple[type[Any], type[Any]]:
    """Return the callback that starts Ray Data, and the controller. Raises AttributeError if a method is missing."""
    from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
    from ray.train.v2._internal.execution.controller import TrainController

    for method in ("_create_default_callbacks", "_initialize_and_run_controller"):
        getattr(ray.train.torch.TorchTrainer, method)
    return DatasetsCallback, TrainController


def found_no_room(error: BaseException | None) -> bool:
    """Whether a trainer gave up waiting for its workers' resources.

    Without the error's name, a lane without room counts as one whose workers died, and is started again.
    """
    return type(getattr(error, "controller_failure", None)).__name__ == NO_ROOM


def _no_room() -> type[Any]:
    from ray.train.v2._internal import exceptions

    found: type[Any] = getattr(exceptions, NO_ROOM)
    return found


def torch_backend() -> type[Any]:
    """Return the class of Ray Train's torch backend, whose `on_start` reaches each worker's main thread.

    A signal handler can be set only there. Raises UserError if this Ray has no such class: without it, a worker that is
    told to end could not send its checkpoint.
    """
    found: Any = getattr(ray.train.torch.TorchConfig(), "backend_cls", None)
    if not hasattr(found, "on_start"):
        raise UserError(f"ray {ray.__version__}: its torch backend has no on_start; install ray >= 2.60, < 3")
    return found


USES: dict[str, Callable[[], Any]] = {
    "the coordinator of resources": _coordinator,
    "the address of the dashboard": _dashboard,
    "the list of draining nodes": _draining,
    "the parts of a trainer": _trainer_parts,
    "the error of a worker group without room": _no_room,
    "the torch backend": torch_backend,
}
"""What `lacking` looks for, by its name for people."""


def lacking() -> list[str]:
    """Return the names of the USES that the installed Ray does not have."""
    missing = []
    for name, use in USES.items():
        try:
            use()
        except (ImportError, AttributeError, UserError):
            missing.append(name)
    return missing
