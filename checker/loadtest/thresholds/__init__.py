"""Thresholds on measurements: their grammar, their windows, and the early end of a run."""
