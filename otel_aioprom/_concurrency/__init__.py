"""Threads, event loops, forks and user code: what every part of the library needs to be safe with them."""
