"""Errors that a person can correct, and the removal of secrets from text before it is stored or shown.

Secrets are passwords and tokens in addresses, and the values of secret environment variables. This is the lowest layer,
because every command prints errors, and errors repeat their input.
"""

import json
import os
import re
from collections.abc import Sequence
from urllib.parse import quote, quote_plus

HIDDEN = "***"
SHORTEST = 8
"""The fewest characters of an environment variable's value that is redacted. A shorter value may be a common word."""

ENVIRONMENT = re.compile(
    r"(?:.*_)?(?:TOKEN|API_?KEY|ACCESS_KEY|PRIVATE_KEY)|.*PASSWORD|.*PASSWD|(?:.*_)?SECRETS?(?:_.*)?"
)
"""The names of environment variables whose value is a secret."""
POINTERS = re.compile(r".*_(?:FILE|PATH|DIR|NAME|ARN)")
"""The names of environment variables that say where a secret is."""

NAMES = (
    r"(?:[\w-]*[-_])?(?:password|passwd|pwd|passphrase|token|secret|secret[-_]?key|access[-_]?key|api[-_]?key|apikey"
    r"|credentials?|signature|sig)"
)
VALUE = r"""(?:'[^']*'|"[^"]*"|[^\s&;,'")\]}]+)"""

SCHEME = "(?:[a-z][a-z0-9+.-]*://|[a-z][a-z0-9+.-]+:/)"

RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # scheme://user:password@host, or one slash, because Path makes one of two. The password may contain @ and / that
    # should have been quoted, so it ends at the last @. Digits before a slash are a port.
    (re.compile(rf"\b({SCHEME}[^\s:/?#@]*):(?!\d{{1,5}}(?:[/?#]|$|\s))(?:(?!://)\S)*@", re.I), r"\1:***@"),
    # https://token@host: a user name has fewer than 16 characters.
    (re.compile(r"\b((?:git\+)?https?:/{1,2})[^\s:/?#@]{16,}@", re.I), r"\1***@"),
    # ?X-Amz-Signature=..., &sig=..., or password=... in a connection string
    (re.compile(rf"(?<![\w-])({NAMES}\s?=\s?)(?!\*\*\*){VALUE}", re.I), r"\1***"),
    (re.compile(r"([?&]key=)[^\s&;'\"]+", re.I), r"\1***"),
    # 'password': '...', as Python and JSON print it
    (re.compile(rf"""((['"]){NAMES}\2\s?:\s?)(?:'[^']*'|"[^"]*")""", re.I), r"\1'***'"),
    (re.compile(r"\b(Bearer|Basic|AWS4-HMAC-SHA256)(\s+)(?=[\w.~+/=-]*\d)[\w.~+/=-]{8,}"), r"\1\2***"),
)


class UserError(Exception):
    """An error with a one-line message: what is wrong, where, and what to do. Commands print it and exit with 2."""


def redact(text: str, known: Sequence[str] | None = None) -> str:
    """Return `text` with each secret replaced by `***`. A second call changes nothing more.

    `known`: the result of `secrets`, for a caller that redacts many texts at a time.
    """
    for pattern, replacement in RULES:
        text = pattern.sub(replacement, text)
    for secret in secrets() if known is None else known:
        text = text.replace(secret, HIDDEN)
    return text


def secrets() -> list[str]:
    """Return the values of secret variables, and their forms in an address or in JSON, the longest first."""
    values = {value for name, value in os.environ.items() if _secret(name) and len(value) >= SHORTEST}
    forms = {form(value) for value in values for form in (str, _quoted, quote_plus, _as_json)}
    return sorted(forms, key=len, reverse=True)


def _secret(name: str) -> bool:
    name = name.upper()
    return bool(ENVIRONMENT.fullmatch(name)) and not POINTERS.fullmatch(name)


def _quoted(value: str) -> str:
    return quote(value, safe="")


def _as_json(value: str) -> str:
    return json.dumps(value)[1:-1]
