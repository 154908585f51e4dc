"""OpenTelemetry: the metric reader that is a source of a registry, and its translation to Prometheus."""
