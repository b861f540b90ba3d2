"""Names that become folders or files: plain ones only, whoever wrote them."""

import re
from pathlib import PurePosixPath

LONGEST = 100
STUDY = re.compile(rf"[A-Za-z0-9_-][A-Za-z0-9._-]{{0,{LONGEST - 1}}}")
RULE = f"letters, digits, '.', '_' and '-', no '.' in front, at most {LONGEST}"


def is_study_name(text: str) -> bool:
    return bool(STUDY.fullmatch(text))


def study_name(text: str) -> str:
    """`text` as a study's name: what may not be in one becomes a `-`, of the longest the end is kept."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip(".")[-LONGEST:]


def file_part(text: str) -> str:
    """`text`, an image's id perhaps, as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:LONGEST]


def is_file_name(text: object) -> bool:
    """Whether it names something directly in a folder, on any system: no way up, no separator, no control character."""
    if not isinstance(text, str) or not text.isprintable() or text in ("", ".", ".."):
        return False
    return text == PurePosixPath(text).name and not set(text) & set("\\:")
