"""Servers that mean harm: one of each kind, what is to be said of each, and the process they run in."""
