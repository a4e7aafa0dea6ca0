"""Simulated histories whose truth is known: how far statements of reports can be trusted."""
