"""Thread pool for work that would block the event loop for long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from otel_aioprom._concurrency.fork_safety import register_after_fork
from otel_aioprom._concurrency.greenlets import is_outside_greenlets

P = ParamSpec("P")
R = TypeVar("R")

MANY_FAMILIES = 100
"""Families that may be assembled on the event loop; each takes some microseconds."""

MANY_SERIES = 500
"""Series that may be created, or have their names escaped, on the event loop."""


class ThreadPool:
    """A thread pool that is created at the first call, and anew in child processes.

    Args:
        threads: Number of threads.
        name: Prefix of their names.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._threads = threads
        self._name = name
        self._pool: Executor | None = None
        register_after_fork(self)

    def after_fork(self) -> None:
        """Drop the threads of the parent process."""
        self._pool = None

    async def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function in a thread of the pool, and wait for it without blocking the event loop.

        A loop beside gevent is that of one push, which may be blocked; threads of gevent would end with it.
        """
        if is_outside_greenlets():
            return function(*args, **kwargs)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, self._name)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: function(*args, **kwargs))


# Not the loop's default executor: what an application runs there must not delay scrapes.
run_in_thread = ThreadPool(4, "otel_aioprom pool").call
