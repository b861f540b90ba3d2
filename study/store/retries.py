"""Retries of what may work a little later, for a limited time, and the errors of a store that stays out of reach."""

import errno
import random
import time
from collections.abc import Callable
from http.client import HTTPException
from typing import TypeVar

from aiohttp import ClientError
from botocore.exceptions import BotoCoreError, NoCredentialsError
from botocore.parsers import ResponseParserError

from seg.errors import UserError, redact

FAILURES: tuple[type[Exception], ...] = (OSError, BotoCoreError, ResponseParserError, HTTPException, ClientError)
"""The errors that file systems raise if they cannot be used.

Some errors of S3's client are not an OSError, for example if an answer was cut off in the middle.
"""

ANSWERS: tuple[type[Exception], ...] = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)
"""OSErrors that say something about a file, not about the store."""

T = TypeVar("T")
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 10.0


class StoreError(UserError):
    """A store that cannot be used. The message is one line without secrets: which store, why, and what to do."""

    def __init__(self, line: str):
        super().__init__(redact(line))


class NotStored(UserError, FileNotFoundError):
    """A file that a study lacks. The message is one line: which file, and what to do."""


def unusable(uri: str, error: Exception, tried_seconds: float = 0.0) -> StoreError:
    tried = f", tried for {tried_seconds:.0f} s" if tried_seconds else ""
    return StoreError(f"{uri}: cannot be used ({reason(error)}{tried}); {remedy(error)}")


def reason(error: Exception) -> str:
    """Return the error's message in one line, or its type if the message is empty."""
    return " ".join(str(error).split()) or type(error).__name__


def remedy(error: Exception) -> str:
    text = str(error)
    if "RequestTimeTooSkewed" in text or "RequestTimeTooSkewed" in str(error.__cause__):
        return "set this machine's clock: S3 refuses requests more than 15 minutes off"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "make room on the disk"
    if isinstance(error, NoCredentialsError):
        return "give credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the machine's role"
    if isinstance(error, PermissionError):
        return "check the permissions, on S3 the credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE, the machine's role)"
    if isinstance(error, BotoCoreError | ClientError | ConnectionError | TimeoutError):
        return "check the network and the address, on S3 AWS_ENDPOINT_URL"
    return "check the address and its permissions"


def patiently(
    action: Callable[[], T],
    passing: Callable[[Exception], bool],
    seconds: float,
    on_trouble: Callable[[Exception, int], None],
    on_end: Callable[[float], None],
) -> T:
    """Return the result of `action`, retried with growing, jittered waits.

    It is retried while `passing(error)` is true and less than `seconds` have passed; then its last error is raised.
    `on_trouble(error, count)` is called before each retry, counted from 1. `on_end(seconds)` is called once a retry has
    worked.
    """
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
            time.sleep(wait * random.uniform(0.5, 1.0))  # so that a hundred lanes do not retry at the same instant
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)
            continue
        if failures:
            on_end(time.monotonic() - began)
        return result
