"""Runs a command and prints the most memory that all its processes held together.

    python tests/benchmarks/memory.py [--beyond FOLDER] python -m study.run isic ...

Proportional set size (PSS, /proc/PID/smaps), summed over the command and all its descendants, Ray's own processes
included, twice a second: a page shared by several processes counts once. What is mapped from files below FOLDER (of
packs: ~/.cache/segstudy/packs) does not count: the kernel takes such pages back when it needs them. Linux only.
"""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

INTERVAL_SECONDS = 0.5


def parents() -> dict[int, int]:
    """Parent of every process on the machine, by pid."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found[int(stat.parent.name)] = int(fields[1])
    return found


def family(root: int) -> Iterator[int]:
    """`root` and all its descendants."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents().items():
        children.setdefault(parent, []).append(pid)
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += children.get(pid, [])


def pss_bytes(pid: int, beyond: str | None) -> int:
    """Of what is not mapped from a file below `beyond`."""
    try:
        lines = Path(f"/proc/{pid}/smaps{'' if beyond else '_rollup'}").read_text().splitlines()
    except OSError:
        return 0
    total, counts = 0, True
    for line in lines:
        if line.startswith("Pss:"):
            total += counts * int(line.split()[1]) * 1024
        elif beyond and "-" in line.split(maxsplit=1)[0]:  # a mapping's first line: its addresses, and its file
            counts = beyond not in line
    return total


def name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()[:60]
    except OSError:
        return "?"


@dataclass(frozen=True)
class Peak:
    """When all processes together held most."""

    after_seconds: float
    processes: list[tuple[int, str]]
    """Bytes and command of each, the largest first."""
    most: dict[str, int] = field(default_factory=dict)
    """By command, the most bytes that one such process held at any time."""

    @property
    def total(self) -> int:
        return sum(size for size, _ in self.processes)


def watch(process: "subprocess.Popen[Any]", beyond: str | None = None) -> Peak:
    """Until it ends."""
    began, peak, most = time.monotonic(), Peak(0, []), dict[str, int]()
    while process.poll() is None:
        sizes = [(pss_bytes(pid, beyond), name(pid)) for pid in family(process.pid)]
        for size, command in sizes:
            most[command] = max(size, most.get(command, 0))
        if sum(size for size, _ in sizes) > peak.total:
            peak = Peak(time.monotonic() - began, sorted(sizes, reverse=True), most)
        with contextlib.suppress(subprocess.TimeoutExpired):  # who times it wants to know its end at once
            process.wait(INTERVAL_SECONDS)
    return peak


def main() -> int:
    command, beyond = sys.argv[1:], None
    if command[:1] == ["--beyond"]:
        beyond, command = str(Path(command[1]).expanduser().resolve()), command[2:]
    process = subprocess.Popen(command)
    peak = watch(process, beyond)
    print(
        f"peak PSS of all processes: {peak.total / 2**30:.2f} GiB "
        f"({len(peak.processes)} processes, after {peak.after_seconds:.0f} s)"
    )
    for size, command_line in peak.processes[:8]:
        print(f"  {size / 2**30:6.2f} GiB  {command_line}")
    print(f"exit status {process.returncode}")
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
