"""Processes: children and their parents, signals, and programs that must not outlive who started them."""
