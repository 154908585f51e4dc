"""Threads for the work that would hold the event loop for long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from otel_aioprom._concurrency.fork_safety import tell_of_forks

P = ParamSpec("P")
R = TypeVar("R")

MANY_FAMILIES = 100
"""Families that are put together on the event loop; each takes some microseconds."""

MANY_SERIES = 500
"""Series of which names are escaped, or which are made, on the event loop."""


class Workers:
    """Some threads of a process, made when they are first needed; a child process makes its own.

    Args:
        threads: How many.
        name: What they are called.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._threads = threads
        self._name = name
        self._pool: Executor | None = None
        tell_of_forks(self)

    def after_fork(self) -> None:
        """Forget the threads of the parent."""
        self._pool = None

    async def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function in one of the threads, and wait for it without holding the event loop."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, self._name)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: function(*args, **kwargs))


# Not the loop's own executor: what an application runs there must not keep scrapes waiting.
in_worker = Workers(4, "otel_aioprom worker").call
