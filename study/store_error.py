"""What goes wrong with a store, said so that a person knows what to do."""

import errno
from http.client import HTTPException

from aiohttp import ClientError
from botocore.exceptions import BotoCoreError, NoCredentialsError
from botocore.parsers import ResponseParserError

from study.redact import redact

FAILURES: tuple[type[Exception], ...] = (OSError, BotoCoreError, ResponseParserError, HTTPException, ClientError)
"""What file systems raise where they cannot be used. S3's client has errors that are no OSError: an answer that was
cut off in the middle, for one."""

ANSWERS: tuple[type[Exception], ...] = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)
"""OSErrors that say something of a file, not of the store."""


class StoreError(Exception):
    """A store that cannot be used. The message is one line, without a secret: which, why, what to do."""

    def __init__(self, line: str):
        super().__init__(redact(line))


def unusable(uri: str, error: Exception, tried_seconds: float = 0.0) -> StoreError:
    tried = f", tried for {tried_seconds:.0f} s" if tried_seconds else ""
    return StoreError(f"{uri}: cannot be used ({reason(error)}{tried}); {remedy(error)}")


def reason(error: Exception) -> str:
    """In one line."""
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
