"""Load tests: the plan, the schedule of arrivals, the load generator, and the results."""
