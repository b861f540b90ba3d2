"""Trying again, for a bounded time, what may work a little later."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 10.0


def patiently(
    action: Callable[[], T],
    passing: Callable[[Exception], bool],
    seconds: float,
    on_trouble: Callable[[Exception, int], None],
    on_end: Callable[[float], None],
) -> T:
    """`action`'s result, tried again with growing, jittered waits while `passing(error)` and less than `seconds` have
    gone by; then its last error is raised. `on_trouble(error, count)` is called at each failure, counted from 1, and
    `on_end(seconds)` once it has worked after all."""
    began = time.monotonic()
    wait, failures = FIRST_WAIT_SECONDS, 0
    while True:
        try:
            result = action()
        except Exception as error:
            if not passing(error) or time.monotonic() - began + wait > seconds:
                raise
            failures += 1
            on_trouble(error, failures)
            time.sleep(wait * random.uniform(0.5, 1.0))  # a hundred lanes do not come back in the same instant
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)
            continue
        if failures:
            on_end(time.monotonic() - began)
        return result
