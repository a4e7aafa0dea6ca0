"""How a worker reaches servers: connections, pools, TLS, and the clock on each exchange."""
