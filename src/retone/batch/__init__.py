"""Many recordings in one job: plan, worker processes or a cluster, resumption, results."""
