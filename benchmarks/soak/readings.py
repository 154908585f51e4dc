"""What the soak counts from time to time, and what must not grow."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import dataclass
from pathlib import Path

ALLOWED_GROWTH = 1.05
"""Of memory, from the middle of the run to its end; before, what the allocator keeps is still settling."""
_SPARE_FILES = 2  # the loop's executor and the resolver keep some


@dataclass(frozen=True)
class Reading:
    """One count; memory in MiB."""

    tasks: int
    files: int
    threads: int
    memory: float

    @classmethod
    def now(cls) -> Reading:
        """Count."""
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        memory = pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
        files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the fastest way
        return cls(len(asyncio.all_tasks()), files, threading.active_count(), memory)


def growth(readings: list[Reading]) -> list[str]:
    """Return what is left over, or grew in the second half; the first is from before, the last from after the run."""
    before, *during, after = readings
    found = []
    if after.tasks > before.tasks:
        found.append(f"{after.tasks - before.tasks} tasks are left over")
    if after.files > before.files + _SPARE_FILES:
        found.append(f"{after.files - before.files} files are left open")
    middle, end = during[(len(during) - 1) // 2], during[-1]
    if end.memory > middle.memory * ALLOWED_GROWTH:
        found.append(f"memory grew from {middle.memory:.1f} to {end.memory:.1f} MiB")
    return found
