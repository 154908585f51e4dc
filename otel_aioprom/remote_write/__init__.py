"""Prometheus remote write: the registry's families as messages that a server stores."""
