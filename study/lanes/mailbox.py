"""The mailbox between a lane and its workers: commands in, answers out, both by index.

Every rank reads the same commands in the same order, at its own pace; rank 0 answers. The actor is asynchronous: a
read of something that is not there yet waits inside it, at no cost. It also knows when a rank last gave a sign of life.
"""

import asyncio
import itertools
import time
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


class Mailbox:
    def __init__(self) -> None:
        self._posted: dict[int, Any] = {}
        self._answers: dict[int, Any] = {}
        self._changed = asyncio.Condition()
        self._workers: dict[int, Any] = {}
        self._nodes: dict[int, str] = {}
        self._ready = False
        self._stacks: dict[int, str] = {}
        self._last_sign = time.monotonic()

    async def post(self, index: int, command: Any) -> None:
        async with self._changed:
            self._posted[index] = command
            # Rank 0 has answered the two commands before this one, so every rank has read the older of them.
            self._posted.pop(index - 2, None)
            self._last_sign = time.monotonic()
            self._changed.notify_all()

    async def command(self, index: int) -> Any:
        async with self._changed:
            await self._changed.wait_for(lambda: index in self._posted)
            return self._posted[index]

    async def put_answer(self, index: int, answer: Any) -> None:
        async with self._changed:
            self._answers[index] = answer
            self._changed.notify_all()

    async def answer(self, index: int) -> Any:
        """Wait for the answer and return it; each answer is handed out once."""
        async with self._changed:
            await self._changed.wait_for(lambda: index in self._answers)
            return self._answers.pop(index)

    async def register(self, rank: int, worker: Any, node: str) -> None:
        """Note the handle of a rank's own actor and the id of its node."""
        self._workers[rank], self._nodes[rank] = worker, node
        self._last_sign = time.monotonic()

    async def workers(self) -> list[Any]:
        return list(self._workers.values())

    async def ready(self) -> None:
        """Note that a rank has all that it needs and waits for its first command."""
        self._ready = True

    async def is_ready(self) -> bool:
        return self._ready

    async def nodes(self) -> set[str]:
        return set(self._nodes.values())

    async def beat(self, rank: int, stack: str) -> None:
        """Note a rank's sign of life.

        If `stack` is empty, its steps go on; otherwise it is the stack of the thread that trains.
        """
        self._stacks[rank] = stack
        if not stack:
            self._last_sign = time.monotonic()

    async def silence(self) -> tuple[float, str]:
        """Return the seconds since any rank's last sign of life, and the stacks of the ranks that stand still."""
        ranks = sorted(self._stacks.items())
        return time.monotonic() - self._last_sign, "\n".join(f"rank {rank}:\n{stack}" for rank, stack in ranks if stack)


def open_mailbox(study: str) -> tuple[Any, str]:
    """Start a mailbox actor and return its handle and its name, `<study>-lane-<number>`.

    The number is the first that is free. The actor runs on its creator's node and lives as long as its creator.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(Mailbox)
    for number in itertools.count():
        name = f"{study}-lane-{number}"
        try:
            options = actor.options(name=name, num_cpus=0, max_concurrency=10_000, scheduling_strategy=here)
            return options.remote(), name
        except ValueError:  # another lane has this name
            continue
    raise AssertionError
