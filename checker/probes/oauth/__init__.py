"""OAuth 2.1 client credentials for probes: discovery, the token request, and their failures."""
