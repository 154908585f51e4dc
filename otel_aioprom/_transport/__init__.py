"""HTTP client requests with retries, credentials, and compression, shared by service, pushers, and remote write."""
