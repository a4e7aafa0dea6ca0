"""Several load tests together: compared block by block, and followed over time."""
