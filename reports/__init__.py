"""Reports on the history: figures, tables and documents."""
