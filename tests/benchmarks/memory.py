"""Runs a command and prints the most memory that all its processes held together.

    python tests/benchmarks/memory.py python -m study.run isic ...

Proportional set size (PSS, /proc/PID/smaps_rollup), summed over the command and all its descendants, Ray's own
processes included, twice a second: a page shared by several processes counts once. Linux only.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

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


def pss_bytes(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:")), 0)


def name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()[:60]
    except OSError:
        return "?"


def main() -> int:
    process = subprocess.Popen(sys.argv[1:])
    began, peak, peak_at, largest = time.monotonic(), 0, 0.0, []
    while process.poll() is None:
        sizes = {pid: pss_bytes(pid) for pid in family(process.pid)}
        if sum(sizes.values()) > peak:
            peak, peak_at = sum(sizes.values()), time.monotonic() - began
            largest = [(size, name(pid)) for pid, size in sorted(sizes.items(), key=lambda item: -item[1])]
        time.sleep(INTERVAL_SECONDS)
    seconds = time.monotonic() - began
    print(f"peak PSS of all processes: {peak / 2**30:.2f} GiB ({len(largest)} processes, after {peak_at:.0f} s)")
    for size, command in largest[:8]:
        print(f"  {size / 2**30:6.2f} GiB  {command}")
    print(f"wall time: {seconds:.0f} s, exit status {process.returncode}")
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
