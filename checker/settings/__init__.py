"""The configuration: YAML into Settings, strictly. A cached configuration needs neither reader nor validator."""
