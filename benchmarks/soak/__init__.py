"""A long, hostile load on everything at once, with real servers that come and go: ``make soak``."""
