"""The command line: one small module per command; heavy imports are inside the bodies of commands."""

from __future__ import annotations

from checker.cli.root import run as cli

__all__ = ["cli"]
