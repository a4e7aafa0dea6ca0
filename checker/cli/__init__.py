"""The command line: one small module for each command; what is heavy to import is imported in command bodies."""

from __future__ import annotations

from checker.cli.root import run as cli

__all__ = ["cli"]
