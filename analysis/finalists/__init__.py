"""The finalists on the test split: which one leads, and whether the lead is significant."""
