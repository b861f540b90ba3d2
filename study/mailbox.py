"""How a lane and its workers talk: commands in, answers out, both by index.

Every rank reads the same commands in the same order, at its own pace; rank 0 answers. The actor is asynchronous:
a read of what is not there yet waits inside it, at no cost. It also knows when a rank last gave a sign of life.
"""

import asyncio
import time
from typing import Any

import ray


class Mailbox:
    def __init__(self) -> None:
        self._posted: dict[int, Any] = {}
        self._answers: dict[int, Any] = {}
        self._changed = asyncio.Condition()
        self._workers: dict[int, Any] = {}
        self._stacks: dict[int, str] = {}
        self._last_sign = time.monotonic()

    async def post(self, index: int, command: Any) -> None:
        async with self._changed:
            self._posted[index] = command
            # Every rank has read a command whose successor's successor is posted: rank 0 answered both before.
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
        """Waits for it; it is handed out once."""
        async with self._changed:
            await self._changed.wait_for(lambda: index in self._answers)
            return self._answers.pop(index)

    async def register(self, rank: int, worker: Any) -> None:
        """The handle of a rank's own actor."""
        self._workers[rank] = worker
        self._last_sign = time.monotonic()

    async def workers(self) -> list[Any]:
        return list(self._workers.values())

    async def beat(self, rank: int, stack: str) -> None:
        """Steps go on where `stack` is empty; else it is where the rank's main thread stands."""
        self._stacks[rank] = stack
        if not stack:
            self._last_sign = time.monotonic()

    async def silence(self) -> tuple[float, str]:
        """Seconds since any rank's last step, and where each stands, as text."""
        ranks = sorted(self._stacks.items())
        return time.monotonic() - self._last_sign, "\n".join(f"rank {rank}:\n{stack}" for rank, stack in ranks if stack)


def open_mailbox() -> Any:
    """A handle of a new mailbox actor; it lives as long as its creator."""
    return ray.remote(Mailbox).options(num_cpus=0, max_concurrency=10_000).remote()
