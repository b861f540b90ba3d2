"""Lanes, on which trials are trained: in Ray's processes, on one machine or a cluster, or in the study's own."""
