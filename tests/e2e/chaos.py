"""A study that is killed again and again, and one that is not: what is left of both must be the same.

    python tests/e2e/chaos.py --kills 30 --lanes 2 --seed 1      by hand: its own Ray, its own S3 server

Each kill hits at a seeded random moment after the study has got on since the one before: a rank of a lane, a lane's own
process, the study's process (which is then resumed), or the S3 server, which is gone for a while.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[i]) for i in (0, 1, 2)] + [str(Path(__file__).parents[1] / "benchmarks")]

from memory import family
from own_specs import SEARCHED
from s3_server import BUCKET, S3Server

from seg import checkpoint
from study.store import Store, counts
from study.store.records import Record, State, read_records, record_name

ROOT = Path(__file__).parents[2]
STORE_GONE_SECONDS = 20.0
TIMINGS = {"seconds", "images_per_second"}
KINDS = ("worker", "driver", "lane", "worker", "store", "driver")


@dataclass
class Chaos:
    """Runs one study to its end, whatever happens to it. `log` has a line for each kill."""

    store: Store
    server: S3Server
    arguments: Sequence[object]
    """Of study.run: the spec and what a new study is given."""
    address: str
    log: list[str] = field(default_factory=list)

    def run(self, kills: Sequence[str], random: random.Random) -> None:
        """AssertionError where the study fails, or ends before every kill has hit."""
        process = self._start()
        for number, kind in enumerate(kills, 1):
            seen = self._progress()
            self._wait(process, lambda seen=seen: self._progress() > seen)  # type: ignore[misc]
            time.sleep(random.uniform(0.0, 2.0))
            assert process.poll() is None, f"ended before kill {number}:\n{process.communicate()[0]}"
            process = self._kill(kind, process)
            self.log.append(f"kill {number}: {kind} at {seen} epochs")
            print(self.log[-1], flush=True)
        out, _ = process.communicate(timeout=600)
        assert process.returncode == 0, out

    def _start(self) -> "subprocess.Popen[str]":
        storage, _, name = self.store.uri.rpartition("/")
        words = [*self.arguments, "--name", name, "--storage", storage, "--address", self.address, "--no-report"]
        command = [sys.executable, "-m", "study.run", *map(str, words)]
        return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def _resume(self) -> "subprocess.Popen[str]":
        storage, _, name = self.store.uri.rpartition("/")
        words = ["--resume", "--name", name, "--storage", storage, "--address", self.address, "--no-report"]
        command = [sys.executable, "-m", "study.run", *words]
        return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def _progress(self) -> int:
        """Epochs in the store."""
        return sum(len(record.epochs) for record in read_records(self.store))

    def _wait(self, process: "subprocess.Popen[str]", reached: Callable[[], bool], seconds: float = 240) -> None:
        end = time.monotonic() + seconds
        while not reached() and process.poll() is None:
            assert time.monotonic() < end, "the study stands still"
            time.sleep(0.2)

    def _kill(self, kind: str, process: "subprocess.Popen[str]") -> "subprocess.Popen[str]":
        """The process that runs the study from now on."""
        if kind == "store":
            self.server.kill()
            time.sleep(STORE_GONE_SECONDS)
            self.server.start()
        elif kind == "driver":
            process.kill()
            process.communicate()
            self._wait_until_gone()
            return self._resume()
        else:
            found: list[int] = []
            self._wait(process, lambda: bool(found.extend(_named(kind)) or found), seconds=60)
            assert found, f"ended while a {kind} was looked for:\n{process.communicate()[0]}"
            os.kill(found[0], signal.SIGKILL)
        return process

    def _wait_until_gone(self) -> None:
        """A killed study's lanes live a few seconds longer. Its successor need not wait for that; its memory does."""
        end = time.monotonic() + 30
        while (_named("lane") or _named("worker")) and time.monotonic() < end:
            time.sleep(0.2)


def _named(kind: str) -> list[int]:
    """Process ids of the lanes or of their ranks, which Ray names so; only those below this process."""
    name = {"worker": b"RayTrainWorker", "lane": b"ray::Lane"}[kind]
    found = []
    for pid in family(os.getpid()):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if name in line:
            found.append(pid)
    return sorted(found)


def check_whole(store: Store, trials: int) -> list[Record]:
    """Every trial has ended, each epoch is there once, and the store holds what the records name: all of it, readable,
    and nothing else. The records."""
    records = read_records(store)
    assert [record.trial for record in records] == list(range(trials))
    assert {record.state for record in records} <= {State.COMPLETE, State.PRUNED}, Counter(r.state for r in records)
    expected = {"study.json", "spent.json", "best.safetensors", "gallery/gallery.json"}
    expected |= {"duel/duel.json"} if store.exists("duel/duel.json") else set()  # a finalist alone has no rival
    for listed in [name for name in expected if "/" in name]:
        folder = listed.partition("/")[0]
        expected |= {f"{folder}/{image['file']}" for image in store.read_json(listed)["images"]}
    for record in records:
        assert [row["epoch"] for row in record.epochs] == list(range(1, len(record.epochs) + 1))
        expected |= {record_name(record.trial), *map(record.path, record.files)}
        assert {"val_counts", "val_confusion"} <= set(record.files)
        for kind in record.files:
            content = store.read(record.path(kind))
            checkpoint.read(content) if kind == "best" else counts.from_parquet(content)
    assert set(store.every_name("")) == expected, set(store.every_name("")) ^ expected
    return records


def compare(one: Store, other: Store) -> int:
    """AssertionError where a trial that both ran is not the same in both. How many both ran."""
    records = {record.trial: record for record in read_records(other)}
    same = [(r, records[r.trial]) for r in read_records(one) if r.experiment == records[r.trial].experiment]
    for left, right in same:
        rows = min(len(left.epochs), len(right.epochs))
        assert _results(left)[:rows] == _results(right)[:rows], f"trial {left.trial}"
        if left.best_epoch == right.best_epoch:
            for kind in ("val_counts", "val_confusion"):
                assert _table(one, left, kind).equals(_table(other, right, kind)), f"trial {left.trial}: {kind}"
        if left.test and right.test and left.best_epoch == right.best_epoch:
            assert left.test == right.test
    return len(same)


def _table(store: Store, record: Record, kind: str):  # type: ignore[no-untyped-def]
    return counts.from_parquet(store.read(record.path(kind)))


def _results(record: Record) -> list[dict[str, object]]:
    return [{key: value for key, value in row.items() if key not in TIMINGS} for row in record.epochs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    server = S3Server(Path(tempfile.mkdtemp(prefix="chaos-")))
    server.start()
    os.environ |= server.environment
    try:
        _run_both(given, server)
    finally:
        server.kill()


def _run_both(given: argparse.Namespace, server: S3Server) -> None:
    import ray

    dice = random.Random(given.seed)
    kills = [dice.choice(KINDS) for _ in range(given.kills)]
    Store("s3://x")._fs.mkdir(BUCKET)
    address = ray.init(address="local", num_cpus=given.lanes, log_to_driver=False).address_info["gcs_address"]
    words = [SEARCHED, "--image-size", 64, "--trials", given.trials, "--epochs", given.epochs, "--lanes", given.lanes]
    seconds = {}
    for name, plan in (("calm", []), ("chaos", kills)):
        began = time.monotonic()
        Chaos(Store(f"s3://{BUCKET}/{name}", 120.0), server, words, address).run(plan, dice)
        seconds[name] = time.monotonic() - began
    calm, chaos = (Store(f"s3://{BUCKET}/{name}", 120.0) for name in ("calm", "chaos"))
    records = check_whole(chaos, given.trials)
    both = compare(calm, chaos)
    states = ", ".join(f"{count} {state}" for state, count in sorted(Counter(r.state for r in records).items()))
    print(f"{len(kills)} kills ({dict(Counter(kills))}): {states}; {both} of {len(records)} trials in both, all equal")
    print(", ".join(f"{name} {value:.0f} s" for name, value in seconds.items()))
    ray.shutdown()


if __name__ == "__main__":
    main()
