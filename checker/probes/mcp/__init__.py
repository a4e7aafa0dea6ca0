"""The MCP probe."""
