"""Health checks for fleets of MCP servers and REST services: configuration, judgement and execution.

Importing this package imports nothing else: a worker process is started as
``python -m checker.worker`` and must be able to patch before ssl or urllib3 are loaded.
"""
