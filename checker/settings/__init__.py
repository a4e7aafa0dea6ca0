"""The configuration: YAML into Settings with strict validation; a cached one needs no YAML reader or validator."""
