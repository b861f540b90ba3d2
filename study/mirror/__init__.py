"""A live copy of a study in a database for optuna-dashboard."""
