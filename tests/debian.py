"""Why a test is left out: the Debian packages, or the rights, that it would need. And the line that adds them up."""

import shutil
from collections.abc import Sequence

NOT_INSTALLED = "not installed: "
NEEDS_ROOT = "needs root"


def not_installed(*packages: str) -> str:
    """The reason for which a test skips that needs these packages of apt.txt."""
    return NOT_INSTALLED + ", ".join(packages)


def left_out(reasons: Sequence[str]) -> str:
    """Return one line: how many tests were skipped, each for one of the reasons, and what to do about it."""
    of_packages = [reason.removeprefix(NOT_INSTALLED) for reason in reasons if reason.startswith(NOT_INSTALLED)]
    of_root = reasons.count(NEEDS_ROOT)
    parts = []
    if of_packages:
        packages = sorted({name for names in of_packages for name in names.split(", ")})
        remedy = "`make apt` installs them" if shutil.which("apt-get") else "Debian's names; this system has others"
        parts.append(f"{len(of_packages)} need {', '.join(packages)} ({remedy})")
    if of_root:
        parts.append(f"{of_root} need root (`sudo make test`)")
    if others := len(reasons) - len(of_packages) - of_root:
        parts.append(f"{others} for the reasons above")
    return f"left out: {len(reasons)} test{'s' * (len(reasons) != 1)}; {', '.join(parts)}"
