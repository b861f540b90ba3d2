"""Names that become folders or files. Only plain ones are allowed, wherever they come from."""

import re
from pathlib import PurePosixPath

LONGEST = 100
STUDY = re.compile(rf"[A-Za-z0-9_-][A-Za-z0-9._-]{{0,{LONGEST - 1}}}")
RULE = f"letters, digits, '.', '_' and '-', no '.' in front, at most {LONGEST}"


def is_study_name(text: str) -> bool:
    return bool(STUDY.fullmatch(text))


def study_name(text: str) -> str:
    """Return `text` as a study's name: forbidden characters become `-`, and only the end of a long text is kept."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip(".")[-LONGEST:]


def file_part(text: str) -> str:
    """Return `text`, such as an image's id, as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:LONGEST]


def is_file_name(text: object) -> bool:
    """Whether `text` names something directly in a folder, on any system.

    It must not lead upwards, and must have no separator and no control character.
    """
    if not isinstance(text, str) or not text.isprintable() or text in ("", ".", ".."):
        return False
    return text == PurePosixPath(text).name and not set(text) & set("\\:")
