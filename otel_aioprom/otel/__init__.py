"""OpenTelemetry as a source of the registry."""
