"""Processes: children and their parents, signals, and programs that must not outlive the process that started them."""
