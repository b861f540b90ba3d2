"""Simulated studies: only the search runs, on recorded or modelled learning curves, and nothing is trained."""
