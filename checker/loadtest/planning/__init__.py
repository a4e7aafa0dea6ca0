"""What is asked of a load test before anything is sent: stages, limits, who may be loaded, on what machine."""
