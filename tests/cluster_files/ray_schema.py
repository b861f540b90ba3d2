"""A file for `ray up` as Ray itself reads and checks it, offline."""

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import ray.autoscaler
import yaml
from click import ClickException
from ray.autoscaler._private.util import prepare_config, validate_config

PROJECT = Path(__file__).parents[2]
SCHEMA = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())


def load(name: str) -> dict[str, Any]:
    """clusters/`name`."""
    return dict(yaml.safe_load((PROJECT / "clusters" / name).read_text()))


def problems(config: dict[str, Any]) -> list[str]:
    """What Ray says, one line; for a file of AWS's, it asks AWS about the node types: run it under moto."""
    try:
        # Ray checks only after it has filled in its defaults, where it may stumble over what the schema forbids.
        jsonschema.validate({key: value for key, value in config.items() if key != "min_workers"}, SCHEMA)
        validate_config(prepare_config(copy.deepcopy(config)))
    except jsonschema.ValidationError as error:
        return [f"{error.json_path.removeprefix('$.')}: {error.message.splitlines()[0]}"]
    except (ValueError, ClickException) as error:
        return [str(error)]
    return []
