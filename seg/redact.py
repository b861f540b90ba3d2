"""Secrets taken out of text before it is kept or shown: passwords and tokens of addresses, and what the environment
holds as secret. The lowest layer, because every command prints errors, and errors repeat what they were given."""

import json
import os
import re
from collections.abc import Sequence
from urllib.parse import quote, quote_plus

HIDDEN = "***"
SHORTEST = 8
"""Characters of an environment variable's value from which it is taken for a secret, not for a word of every text."""

ENVIRONMENT = re.compile(
    r"(?:.*_)?(?:TOKEN|API_?KEY|ACCESS_KEY|PRIVATE_KEY)|.*PASSWORD|.*PASSWD|(?:.*_)?SECRETS?(?:_.*)?"
)
"""Names of variables that hold a secret."""
POINTERS = re.compile(r".*_(?:FILE|PATH|DIR|NAME|ARN)")
"""Names of variables that say where one is."""

NAMES = (
    r"(?:[\w-]*[-_])?(?:password|passwd|pwd|passphrase|token|secret|secret[-_]?key|access[-_]?key|api[-_]?key|apikey"
    r"|credentials?|signature|sig)"
)
VALUE = r"""(?:'[^']*'|"[^"]*"|[^\s&;,'")\]}]+)"""

SCHEME = "(?:[a-z][a-z0-9+.-]*://|[a-z][a-z0-9+.-]+:/)"

RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # scheme://user:password@host. A path has made one slash of two; a password may hold @ and / that should have been
    # quoted, so it goes on to the last @; but digits before a slash are a port.
    (re.compile(rf"\b({SCHEME}[^\s:/?#@]*):(?!\d{{1,5}}(?:[/?#]|$|\s))(?:(?!://)\S)*@", re.I), r"\1:***@"),
    # https://token@host: a name of a person is shorter.
    (re.compile(r"\b((?:git\+)?https?:/{1,2})[^\s:/?#@]{16,}@", re.I), r"\1***@"),
    # ?X-Amz-Signature=..., &sig=..., password=... of a connection string
    (re.compile(rf"(?<![\w-])({NAMES}\s?=\s?)(?!\*\*\*){VALUE}", re.I), r"\1***"),
    (re.compile(r"([?&]key=)[^\s&;'\"]+", re.I), r"\1***"),
    # 'password': '...', as Python and JSON print it
    (re.compile(rf"""((['"]){NAMES}\2\s?:\s?)(?:'[^']*'|"[^"]*")""", re.I), r"\1'***'"),
    (re.compile(r"\b(Bearer|Basic|AWS4-HMAC-SHA256)(\s+)(?=[\w.~+/=-]*\d)[\w.~+/=-]{8,}"), r"\1\2***"),
)


def redact(text: str, known: Sequence[str] | None = None) -> str:
    """`text` with `***` for each secret. What is written twice through it is as if once.

    `known`: what `secrets` says, for who redacts many texts at a time."""
    for pattern, replacement in RULES:
        text = pattern.sub(replacement, text)
    for secret in secrets() if known is None else known:
        text = text.replace(secret, HIDDEN)
    return text


def secrets() -> list[str]:
    """Values of secret variables, and the forms they take in an address or in JSON; the longest first."""
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
