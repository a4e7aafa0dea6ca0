"""The selftest: does this installation work on this machine, tried against servers of its own on loopback."""
