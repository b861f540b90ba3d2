"""Everything that uses Ray: clusters, worker groups, and the trials that run on them."""
