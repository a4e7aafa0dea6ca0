"""A run in the parent process: queue, workers, resource limits, caches, results into the store."""
