"""Manual clocks."""

from __future__ import annotations

import threading


class ManualClock:
    """A clock that the test sets; it records the threads that read it."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now
        self.threads: list[threading.Thread] = []

    def __call__(self) -> float:
        """Return the time in seconds."""
        self.threads.append(threading.current_thread())
        return self.now


class ManualTime:
    """A replacement of the module ``time`` with manual clocks."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Return the time in seconds."""
        return self.now

    time = monotonic
