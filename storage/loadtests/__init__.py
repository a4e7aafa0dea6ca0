"""Load tests in the database: written as they go, read back, listed, kept and pruned."""
