"""What workers tell of a load test, as rows of whole numbers: written by them, read by their parent.

A sample is not binned where it is taken: that would hold the worker's loop for milliseconds, and be measured.
"""

from __future__ import annotations

STAGES = 100_000
"""A key is ``series * STAGES + stage``, so that one number says what a sample belongs to."""
SAMPLE = 7
"""Numbers of a sample: key, code, intended, sent, first byte, done, received bytes. Times are nanoseconds of
`time.monotonic_ns`, which all processes of a machine share."""
ARRIVAL = 2
"""Numbers of an arrival: key, intended."""
PHASE = 4
"""Numbers of a phase: key, intended, name (an index into `PHASES` and what the worker names after it), nanoseconds."""
REFUSED, WAITED, RESENT, SHIFT = 1, 2, 4, 3
"""A code has three flags, and above them the reason: an index into `REASONS` and what the worker names after them."""

OK = ""
DROPPED = "dropped"
"""Never sent: the run was over while it waited for a free place."""
REASONS = (OK, DROPPED)
PHASES = ("connect", "tls")
"""What is named from the beginning; a worker tells further names before it uses their numbers."""
CENSORED = frozenset({"send_timeout", "first_byte_timeout", "deadline", "connect_timeout"})
"""Reasons that are timeouts: the time is the limit, not what it would have taken."""
