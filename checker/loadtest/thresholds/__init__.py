"""Conditions on what is measured: their grammar, their windows, and when they end a run."""
