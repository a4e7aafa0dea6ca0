"""The version of the program, defined only here."""

VERSION = "0.1.0"
USER_AGENT = f"mcp-status-check/{VERSION}"
