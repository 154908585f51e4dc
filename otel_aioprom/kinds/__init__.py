"""The kinds of native collectors, one module each, and what they share."""
