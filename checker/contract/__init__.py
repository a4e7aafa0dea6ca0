"""The offer of an MCP server as a document: its canonical form, and the changes between two of them; pure."""
