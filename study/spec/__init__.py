"""The specification of a study: the YAML file, its form and its limits."""

from study.spec.errors import SpecError
from study.spec.load import bundled, from_json, load_spec
from study.spec.spec import Spec

__all__ = ["Spec", "SpecError", "bundled", "from_json", "load_spec"]
