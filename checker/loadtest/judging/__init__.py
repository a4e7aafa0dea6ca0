"""Verdicts on a run: its validity, the capacity of a server, and when there are enough measurements."""
