"""Threads, event loops, forks and calls into code of others: what every room needs to be safe under them."""
