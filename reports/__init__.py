"""Numbers, tables and documents made from the history."""
