"""The comparison of trials: which one is better."""
