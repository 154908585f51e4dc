"""Thread pools for work that would block the event loop for long."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, ParamSpec, TypeVar

from otel_aioprom._concurrency.daemon_threads import start_daemon
from otel_aioprom._concurrency.fork_safety import register_after_fork
from otel_aioprom._concurrency.shared_future import MAX_WAIT
from otel_aioprom.errors import OverloadError

P = ParamSpec("P")
R = TypeVar("R")

MANY_FAMILIES = 100
"""Families, and faults, that may be assembled on the event loop; each takes some microseconds."""

MANY_SERIES = 500
"""Series that may be created, or have their names escaped, on the event loop."""


class ThreadPool:
    """A limited number of daemon threads; further calls wait for one of them, in their order.

    What may hang (user code, files) needs a pool of its own: it occupies a thread until it returns.

    Args:
        threads: Number of threads.
        name: Their name.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._threads = threads
        self._name = name
        self.after_fork()
        register_after_fork(self)

    def after_fork(self) -> None:
        """Start over in a child process, which has none of the threads."""
        self._calls: deque[Callable[[], None]] = deque()
        self._free: list[None] = [None] * self._threads

    async def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function in a thread of the pool, and wait for it without blocking the event loop.

        If the caller is cancelled before the function is called, it is not called any more.

        Raises:
            RuntimeError: The system cannot start another thread.
        """
        future: Future[R] = Future()
        self._calls.append(partial(_run, future, partial(function, *args, **kwargs)))
        try:
            self._start_thread()
        except RuntimeError:
            future.cancel()
            raise
        return await asyncio.wrap_future(future)

    async def call_within(
        self, seconds: float, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Call a function as ``call`` does, and wait for it for so many seconds.

        Raises:
            OverloadError: It has not returned by then.
            RuntimeError: The system cannot start another thread.
        """
        call = self.call(function, *args, **kwargs)
        try:
            return await asyncio.wait_for(call, min(seconds, MAX_WAIT))
        except asyncio.TimeoutError:
            raise OverloadError(seconds) from None

    def _start_thread(self) -> None:
        """Start a thread, unless all of them run: each looks for more calls before it ends."""
        try:
            self._free.pop()
        except IndexError:
            return
        try:
            start_daemon(self._run_calls, self._name)
        except BaseException:
            self._free.append(None)
            raise

    def _run_calls(self) -> None:
        while True:
            while self._calls:
                try:
                    call = self._calls.popleft()
                except IndexError:
                    break
                call()
                del call
            self._free.append(None)
            if not self._calls:
                return
            try:  # a call that came in between
                self._free.pop()
            except IndexError:
                return


def _run(future: Future[Any], call: Callable[[], Any]) -> None:
    if future.set_running_or_notify_cancel():
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - passed to the caller
            future.set_exception(error)
        else:
            future.set_result(result)


# Not the loop's default executor: what an application runs there must not delay scrapes.
own_threads = ThreadPool(4, "otel_aioprom pool")
"""For the library's own work alone, which always ends: no user code, no files."""

file_thread = ThreadPool(1, "otel_aioprom files")
"""For files, on disks that may hang."""
