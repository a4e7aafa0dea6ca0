"""Secrets that must not be shown: their definition, their places in options, and masking them in any text."""
