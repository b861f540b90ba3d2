"""The records of our own studies, and the tables that RESULTS.md shows."""
