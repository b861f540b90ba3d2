"""A study's results beside published ones."""

from analysis.published.rows import published

__all__ = ["published"]
