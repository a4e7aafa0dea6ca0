"""Entry of the command: `mcp-status` and `python -m checker`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; errors of ours become one message and their exit code."""
    from checker.cli import cli

    sys.exit(cli())


if __name__ == "__main__":
    main()
