"""What people see of a load test after it: one report, and its other forms."""
