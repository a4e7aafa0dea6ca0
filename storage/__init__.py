"""The history in SQLite: the only package that knows SQL."""
