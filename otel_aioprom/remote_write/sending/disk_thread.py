"""A thread for file operations: a disk that hangs holds up nothing else, neither scrapes nor the end of the process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from time import monotonic
from typing import Any, ParamSpec, TypeVar

from otel_aioprom._concurrency.daemon_threads import start_daemon

P = ParamSpec("P")
R = TypeVar("R")

TIMEOUT = 10.0
"""Seconds after which a disk is taken to hang."""

_Result = tuple[Any, BaseException | None]
_Call = tuple["asyncio.Future[_Result]", Callable[[], Any]]


class DiskThread:
    """A thread of the current event loop that makes one call after the other, until it is stopped.

    It is a daemon. Whoever waits gives up after ``TIMEOUT``, and as long as the thread hangs, further calls fail at
    once. A call that was given up is skipped, unless it has begun: nothing can stop that.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._began: float | None = None
        self._loop = asyncio.get_running_loop()
        start_daemon(self._run, "otel_aioprom files")

    async def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function in the thread.

        Raises:
            TimeoutError: The thread hangs, in this call or in an earlier one.
        """
        if (began := self._began) is not None and monotonic() - began > TIMEOUT:
            raise TimeoutError
        future = self._put(lambda: function(*args, **kwargs))
        try:
            await asyncio.wait([future], timeout=TIMEOUT)
        finally:
            hangs = future.cancel()
        if hangs:
            raise TimeoutError
        result, error = future.result()
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]

    def stop(self, last: Callable[[], object]) -> asyncio.Future[_Result]:
        """End the thread after a last call behind all others.

        Args:
            last: What to call.

        Returns:
            A future that is done after the call: never, if the thread hangs.
        """
        future = self._put(last)
        self._calls.put(None)
        return future

    def _put(self, function: Callable[[], Any]) -> asyncio.Future[_Result]:
        future: asyncio.Future[_Result] = self._loop.create_future()
        self._calls.put((future, function))
        return future

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            future, function = call
            if not future.cancelled():
                self._began = monotonic()
                result = _result_of(function)
                self._began = None
                with suppress(RuntimeError):  # the event loop is closed
                    self._loop.call_soon_threadsafe(_settle, future, result)


def _result_of(function: Callable[[], Any]) -> _Result:
    try:
        return function(), None
    except BaseException as error:  # noqa: BLE001 - raised by whoever waits
        return None, error


def _settle(future: asyncio.Future[_Result], result: _Result) -> None:
    if not future.done():
        future.set_result(result)
