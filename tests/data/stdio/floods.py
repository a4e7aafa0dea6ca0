"""Writes without end on standard output, and never a newline."""

import os

while True:
    os.write(1, b"x" * 65536)
