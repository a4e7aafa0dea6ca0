"""Load tests: what is planned, when arrivals are due, who makes them, and what came of it."""
