"""Reports of load tests: the report itself, its other forms, comparisons and trends."""
