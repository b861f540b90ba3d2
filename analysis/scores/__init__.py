"""The scores: what each is, and how certain it is."""
