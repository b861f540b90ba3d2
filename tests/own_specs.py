"""Specs whose every choice is stated: tests of the search do not change with the bundled studies or the defaults."""

from pathlib import Path

SPECS = Path(__file__).parent / "assets" / "specs"
SEARCHED = str(SPECS / "searched.yaml")
"""Ten trials over synthetic lesions, six epochs at 64 pixels, no baselines; tpe and stopping ASHA."""
SEARCHED_BELOW_ROOT = "tests/assets/specs/searched.yaml"
"""The same, for a process whose working directory is a copy of the project."""
WITH_BASELINES = str(SPECS / "with-baselines.yaml")
"""Forty trials over ISIC 2016, of which four are published baselines; none is the recipe. tpe and stopping ASHA."""
