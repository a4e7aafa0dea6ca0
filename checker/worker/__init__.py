"""The worker process: everything in this folder runs only there, patched for greenlets from its first line."""
