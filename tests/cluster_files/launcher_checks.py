"""What Ray's schema lets through in a file for `ray up`, and what would cost its user time, money or secrets.

A check yields one line a problem: where, what, what to do.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from ray_schema import PROJECT, SCHEMA

Config = dict[str, Any]
Check = Callable[[Config], Iterator[str]]


def provider_keys(config: Config) -> Iterator[str]:
    """The schema takes any key there."""
    known = SCHEMA["properties"]["provider"]["properties"]
    for key in config["provider"].keys() - known.keys():
        yield f"provider.{key}: Ray knows no such key; it reads {', '.join(sorted(known))}"


def workers_find_the_head(config: Config) -> Iterator[str]:
    started = [line for line in config.get("worker_start_ray_commands", []) if "ray start" in line]
    if not started:
        yield "worker_start_ray_commands: none starts Ray"
    for line in started:
        if not re.search(r"--address=\"?\$\{?RAY_HEAD_IP\b", line):
            yield f"worker_start_ray_commands: {line!r} does not join the head; say --address=$RAY_HEAD_IP:6379"


def head_is_a_head(config: Config) -> Iterator[str]:
    line = _head_start(config)
    if "--head" not in line:
        yield "head_start_ray_commands: none says ray start --head"
    if "--autoscaling-config=~/ray_bootstrap_config.yaml" not in line:
        yield "head_start_ray_commands: without --autoscaling-config=~/ray_bootstrap_config.yaml no worker is started"


def one_port(config: Config) -> Iterator[str]:
    head = _ports(r"--port=(\d+)", [_head_start(config)])
    workers = _ports(r"\$\{?RAY_HEAD_IP\}?:(\d+)", config.get("worker_start_ray_commands", []))
    if workers and head != workers:
        yield f"worker_start_ray_commands: port {', '.join(workers)}, where the head listens on {', '.join(head)}"


def old_ray_ends_first(config: Config) -> Iterator[str]:
    """`ray up` a second time would meet the Ray of the first."""
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        lines = config.get(key, [])
        starts = [number for number, line in enumerate(lines) if "ray start" in line]
        if starts and not any("ray stop" in line for line in lines[: starts[0]]):
            yield f"{key}: `ray stop` must come before `ray start`"


def dashboard_is_private(config: Config) -> Iterator[str]:
    found = re.search(r"--dashboard-host[= ](\S+)", _head_start(config))
    if found and found[1] not in ("127.0.0.1", "localhost"):
        yield f"head_start_ray_commands: --dashboard-host={found[1]} shows it to the network; say 127.0.0.1"


def token_is_shared(config: Config) -> Iterator[str]:
    """Ray on several machines needs one token; without RAY_AUTH_MODE a machine that has none starts unprotected."""
    if "~/.ray/auth_token" not in config.get("file_mounts", {}):
        yield "file_mounts: ~/.ray/auth_token must go to every machine; `ray get-auth-token --generate` makes it"
    if "RAY_AUTH_MODE=token" not in _environment(config):
        yield "setup_commands: the environment must have RAY_AUTH_MODE=token, or Ray asks nobody for the token"


def nothing_phones_home(config: Config) -> Iterator[str]:
    if "RAY_USAGE_STATS_ENABLED=0" not in _environment(config):
        yield "setup_commands: the environment must have RAY_USAGE_STATS_ENABLED=0, or Ray reports to its makers"


def environment_is_read(config: Config) -> Iterator[str]:
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        for line in config.get(key, []):
            if not line.startswith(". ~/segstudy.env;"):
                yield f"{key}: {line!r} must begin with `. ~/segstudy.env;`, which has PATH and the token mode"


def install_is_pinned(config: Config) -> Iterator[str]:
    for line in config.get("setup_commands", []):
        for install in re.findall(r"pip install[^&;|]*", line):
            if "-c constraints.txt" not in install:
                yield f"setup_commands: {install.strip()!r} takes any version; say pip install -c constraints.txt"


def mounts_are_there(config: Config) -> Iterator[str]:
    """What is in the home of who runs `ray up` (~) is theirs to have."""
    for remote, local in config.get("file_mounts", {}).items():
        if local.startswith("/"):
            yield f"file_mounts.{remote}: {local} is there on one machine only; name it relative to the project"
        elif not local.startswith("~") and not (PROJECT / local).exists():
            yield f"file_mounts.{remote}: there is no {local} in the project"
        elif (PROJECT / local).resolve() == PROJECT:
            yield f"file_mounts.{remote}: {local} is the whole project; Ray reads .venv, data and .git at each `ray up`"


def project_is_complete(config: Config) -> Iterator[str]:
    """All that `pip install -e .` and the constraints need."""
    sent = set(config.get("file_mounts", {}).values())
    needed = ["seg", "study", "analysis", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"]
    if absent := [path for path in needed if path not in sent]:
        yield f"file_mounts: {', '.join(absent)} must be there too, or the machines cannot install the project"


def _head_start(config: Config) -> str:
    return " ".join(line for line in config.get("head_start_ray_commands", []) if "ray start" in line)


def _environment(config: Config) -> str:
    return " ".join(line for line in config.get("setup_commands", []) if "segstudy.env" in line)


def _ports(pattern: str, lines: list[str]) -> list[str]:
    return sorted({port for line in lines for port in re.findall(pattern, line)})


CHECKS: tuple[Check, ...] = (
    provider_keys,
    workers_find_the_head,
    head_is_a_head,
    one_port,
    old_ray_ends_first,
    dashboard_is_private,
    token_is_shared,
    nothing_phones_home,
    environment_is_read,
    install_is_pinned,
    mounts_are_there,
    project_is_complete,
)


def problems(config: Config, checks: tuple[Check, ...] = CHECKS) -> list[str]:
    return [problem for check in checks for problem in check(config)]
