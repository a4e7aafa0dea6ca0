"""Fuzzing: what reads bytes that others wrote, as functions of bytes, and ways to make such bytes."""
