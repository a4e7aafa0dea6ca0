"""Entry point of the command: `mcp-status` and `python -m checker`."""

from __future__ import annotations

import gc

_COLLECT = (100_000, 20, 20)
"""Garbage collections are rarer than Python's default: nearly all objects here are freed with their last reference."""


def main() -> None:
    """Run the command line; one of our own errors becomes one message and its exit code."""
    gc.set_threshold(*_COLLECT)
    from checker.lean_start import WITH_LATE_PATTERNS, patterns_when_used

    with patterns_when_used(WITH_LATE_PATTERNS):
        from checker.cli import cli
    from checker.processes.process_end import leave

    leave(cli())


if __name__ == "__main__":
    main()
