"""With gevent, greenlets share one thread, of which asyncio knows one event loop only: their loops take turns."""

from __future__ import annotations

import asyncio
import sys
import threading
from asyncio import _get_running_loop, _set_running_loop  # public, for who makes event loops
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from importlib import import_module
from typing import Any

_State = tuple[Any, Any, Any]
"""Of a thread: its running loop, the task that runs, its hooks for asynchronous generators."""

_OUTSIDE: _State = (None, None, (None, None))


def _monkey() -> Any:
    return sys.modules.get("gevent.monkey")


_Local: Any = threading.local if _monkey() is None else _monkey().get_original("threading", "local")
_here = _Local()  # of a thread of the system, in which all greenlets share a hub


def threads_are_greenlets() -> bool:
    """Return whether gevent has replaced the threads of this program."""
    monkey = _monkey()
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread, or in this greenlet, if any."""
    loop = _get_running_loop()
    if loop is None or not threads_are_greenlets():
        return loop
    # One that waits in another greenlet is the running one, too; asyncio and uvloop know where it is.
    mine = getattr(loop, "_thread_id", None) in {None, threading.get_ident()}
    return loop if mine else None


def try_lock() -> threading.Lock:
    """Return a lock that is tried, and never waited for. One of gevent would let other greenlets go on at a failure."""
    monkey = _monkey()
    lock: threading.Lock = (
        threading.Lock() if monkey is None else monkey.get_original("_thread", "allocate_lock")()
    )
    return lock


@contextmanager
def event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Create an event loop for this block; with gevent, several may run in greenlets of one thread."""
    if threads_are_greenlets():
        if not hasattr(_here, "turns"):
            _here.turns = _Turns()
        with _here.turns.shared_loop() as loop:
            yield loop
        return
    loop = asyncio.new_event_loop()
    try:
        yield loop
    finally:
        loop.close()


@contextmanager
def without_loop() -> Iterator[None]:
    """Let this greenlet have no event loop during the block, which blocks that of the caller: others may be run."""
    mine = _exchange(_OUTSIDE)
    try:
        yield
    finally:
        _exchange(mine)


class _Turns:
    """Event loops of one thread, one of which has its turn: it runs callbacks, while the others wait for events.

    What asyncio and the interpreter keep for the thread, the running loop and its hooks, is exchanged at each turn.
    """

    def __init__(self) -> None:
        self._turn = threading.RLock()  # a loop may run in a callback of another one
        self._gevent: Any = import_module("gevent")

    @contextmanager
    def shared_loop(self) -> Iterator[asyncio.AbstractEventLoop]:
        """Create an event loop for this block, which is not run outside of it."""
        selector: Any = import_module("gevent.selectors").GeventSelector()
        wait = selector.select
        outside = _OUTSIDE

        def select(timeout: float | None = None) -> Any:
            """Wait for events, while the others have their turns."""
            nonlocal outside
            mine = _exchange(outside)
            self._turn.release()
            try:
                if timeout is not None and timeout <= 0:
                    self._gevent.sleep(0)  # the selector would not look for events
                return wait(timeout)
            finally:
                self._turn.acquire()
                outside = _exchange(mine)

        selector.select = select
        with self._turn:
            outside = _exchange(_OUTSIDE)
            loop = _SharedLoop(selector)
            try:
                yield loop
            finally:
                loop.close()
                _exchange(outside)


def _exchange(state: _State) -> _State:
    """Set what asyncio and the interpreter keep for this thread; return what it was."""
    loop = _get_running_loop()
    before = loop, _swap_task(loop, None), sys.get_asyncgen_hooks()
    loop, task, hooks = state
    _set_running_loop(loop)
    _swap_task(loop, task)
    sys.set_asyncgen_hooks(*hooks)
    return before


def _swap_task(loop: Any, task: Any) -> Any:
    """Set the task that runs; before Python 3.14 each loop has its own."""
    swap: Any = getattr(asyncio.tasks, "_swap_current_task", None)
    return None if loop is None or sys.version_info < (3, 14) else swap(loop, task)


class _SharedLoop(asyncio.SelectorEventLoop):
    """An event loop whose callbacks do not wait for threads to start: in between, another loop might go on."""

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Call a function in a greenlet, such as one that resolves names."""
        return super().run_in_executor(executor or _Spawn(), func, *args)


class _Spawn(Executor):
    """Calls each function in a greenlet of its own."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Start a call, and do not wait for it."""
        future: Future[Any] = Future()
        import_module("gevent").spawn(_call, future, fn, args, kwargs)
        return future


def _call(future: Future[Any], function: Callable[..., Any], args: Any, kwargs: Any) -> None:
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(function(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - raised where it is awaited
            future.set_exception(error)
