"""Threads for the work that would hold the event loop for long."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import cache
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

MANY_FAMILIES = 100
"""Families that are put together on the event loop; each takes some microseconds."""

MANY_SERIES = 500
"""Series of which names are escaped on the event loop."""

_THREADS = 4


@cache
def _pool() -> Executor:
    # Not the loop's own executor: what an application runs there must not keep scrapes waiting.
    return ThreadPoolExecutor(_THREADS, "otel_aioprom worker")


if hasattr(os, "register_at_fork"):  # a child has none of its parent's threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


async def in_worker(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function in a thread, and wait for it without holding the event loop."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_pool(), lambda: function(*args, **kwargs))
