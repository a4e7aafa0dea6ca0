"""The transport from a worker to its servers: connections, pools, TLS, and the clock on each exchange."""
