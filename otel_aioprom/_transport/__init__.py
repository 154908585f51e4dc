"""One HTTP request with its tries, credentials and compression: what endpoints, pushers and remote write share."""
