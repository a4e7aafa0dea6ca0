"""Load tests as users write them: plans in YAML, an address on the command line, and legacy configurations."""
