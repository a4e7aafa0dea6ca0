"""Load tests in the database: writing during a run, reading, lists, baselines and pruning."""
