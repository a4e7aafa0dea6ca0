"""Writes 50 MB on standard error before it becomes a proper server: who does not read them waits forever."""

import sys

from speaks import speak

LINE = "y" * 999 + "\n"
for _ in range(50_000):
    sys.stderr.write(LINE)
speak()
