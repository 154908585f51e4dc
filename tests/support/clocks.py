"""Clocks that are set by hand."""

from __future__ import annotations

import threading


class ManualClock:
    """Stands still until told otherwise, and notes in which threads it is read."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now
        self.threads: list[threading.Thread] = []

    def __call__(self) -> float:
        """Seconds."""
        self.threads.append(threading.current_thread())
        return self.now


class ManualTime:
    """Both clocks of the module `time`, in its place."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now

    time = monotonic
