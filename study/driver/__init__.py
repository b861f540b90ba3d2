"""The driver: the process that runs a study from its start to its end."""
