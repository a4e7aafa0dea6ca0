"""Checks on a load test before anything is sent: stages, limits, allowed hosts, and the machine's environment."""
