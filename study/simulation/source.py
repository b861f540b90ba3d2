"""Where simulated learning curves come from: the model, a recorded study, or a small file made of one."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from study.ls import open_study
from study.objective import Objective
from study.records import FormatError, read_records, read_study
from study.simulation.course import Curves
from study.simulation.model import ModelCurves
from study.simulation.recorded import CurvesError, Recorded, RecordedCurves, recorded
from study.spec import Spec

MODEL = "model"


def curves(source: str, spec: Spec, seed: int, failures: float) -> Curves:
    """`source`: `model`, `<storage>/<name>` of a study, or a file that `save` wrote. `failures`: of the model.

    FileNotFoundError or CurvesError, in one line, where there are none; FormatError and StoreError as of the store.
    """
    if source == MODEL:
        return ModelCurves(spec, seed, failures)
    try:
        of, trials = load(Path(source)) if source.endswith(".json") else of_study(source)
        return RecordedCurves(trials, of, spec.epochs, seed)
    except CurvesError as error:
        raise CurvesError(f"{source}: {error}") from error


def of_study(uri: str) -> tuple[Spec, list[Recorded]]:
    store = open_study(uri)
    with store.reached():
        spec = Spec.from_json(read_study(store)["spec"], source=f"{uri}/study.json")
        records = read_records(store)
    return spec, recorded(records, Objective(spec.objective.metric, spec.objective.mode))


def save(path: Path, spec: Spec, trials: Sequence[Recorded]) -> None:
    """What curves are fitted to, without the study: a few kilobytes."""
    lines = [json.dumps(dataclasses.asdict(trial)) for trial in trials]
    path.write_text(f'{{"spec": {json.dumps(spec.to_json())},\n"trials": [\n' + ",\n".join(lines) + "\n]}\n")


def load(path: Path) -> tuple[Spec, list[Recorded]]:
    try:
        raw = json.loads(path.read_text())
        return Spec.from_json(raw["spec"], source=str(path)), [Recorded(**trial) for trial in raw["trials"]]
    except OSError as error:
        raise CurvesError(f"cannot be read ({error.strerror}); give a study, a file of curves, or model") from error
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path}: is no file of learning curves ({error})") from error
