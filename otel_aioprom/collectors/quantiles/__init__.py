"""Quantiles of a stream of values, within a promised error."""
