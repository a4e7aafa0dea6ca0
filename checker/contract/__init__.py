"""What an MCP server offers, as a document: its canonical form, and what has changed between two of them; pure."""
