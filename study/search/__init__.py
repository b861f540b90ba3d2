"""The search of a study: which trial runs next, and which one is stopped early."""
