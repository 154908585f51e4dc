"""Daemon threads that are kept for the next call, and started without waiting for them.

``threading.Thread.start`` waits until the thread runs: beside busy threads some ten milliseconds, in which an event loop
would do nothing. Threads here are started by a short-lived thread of the system, which waits in its place.
"""

from __future__ import annotations

import _thread
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from otel_aioprom._concurrency.fork_safety import register_after_fork
from otel_aioprom._concurrency.greenlets import try_lock

_IDLE_TIME = 90.0  # seconds for which a thread waits for another call; most scrapes come more often
_IDLE_NAME = "otel_aioprom idle"


class _Call:
    """A function to call, and the name of the thread meanwhile."""

    __slots__ = ("function", "name")

    def __init__(self, function: Callable[[], object], name: str) -> None:
        self.function = function
        self.name = name


class DaemonThreads:
    """As many daemon threads as there are calls at once; none of them waits for another one.

    No lock is waited for: signal handlers and finalizers may start calls at any point.
    """

    def __init__(self) -> None:
        self.after_fork()
        register_after_fork(self)

    def after_fork(self) -> None:
        """Start over in a child process, which has none of the threads."""
        self._calls: deque[_Call] = deque()
        self._idle: list[threading.Lock] = []  # releasing one wakes its thread
        self._starting = try_lock()  # held until a thread that is being started runs

    def start(self, function: Callable[[], object], name: str) -> None:
        """Call a function in a thread, and do not wait for it.

        Args:
            function: What to call; it should not raise.
            name: Name of the thread during the call.

        Raises:
            RuntimeError: The system cannot start another thread.
        """
        call = _Call(function, name)
        self._calls.append(call)
        try:
            self._wake_thread()
        except RuntimeError:
            with suppress(ValueError):  # a thread has taken it after all
                self._calls.remove(call)
                raise

    def _wake_thread(self) -> None:
        """Wake an idle thread, or start one, unless one is being started: that looks for calls when it runs."""
        try:
            self._idle.pop().release()
        except IndexError:
            if self._starting.acquire(blocking=False):
                try:
                    _thread.start_new_thread(self._start_thread, ())
                except BaseException:
                    self._starting.release()
                    raise

    def _start_thread(self) -> None:
        try:
            threading.Thread(target=self._run, name=_IDLE_NAME, daemon=True).start()
        except RuntimeError:  # the system has no other thread than this one
            self._run()

    def _run(self) -> None:
        wake = threading.Lock()
        wake.acquire()
        self._starting.release()
        while True:
            self._run_calls()
            if not self._wait(wake):
                return

    def _run_calls(self) -> None:
        thread = threading.current_thread()
        while self._calls:
            try:
                call = self._calls.popleft()
            except IndexError:
                break
            if self._calls:  # this call may take long
                with suppress(
                    RuntimeError
                ):  # no thread can be started: the others wait for this one
                    self._wake_thread()
            thread.name = call.name
            call.function()
            del call  # an idle thread keeps nothing alive
        thread.name = _IDLE_NAME

    def _wait(self, wake: threading.Lock) -> bool:
        """Wait to be woken; return whether that was before the idle time was over."""
        self._idle.append(wake)
        if self._calls and self._withdraw(wake):  # it came before this thread could be woken
            return True
        if wake.acquire(timeout=_IDLE_TIME):
            return True
        if self._withdraw(wake):
            return False
        wake.acquire()  # it is being woken
        return True

    def _withdraw(self, wake: threading.Lock) -> bool:
        """Be idle no longer; return false if another thread wakes this one."""
        try:
            self._idle.remove(wake)
        except ValueError:
            return False
        return True


start_daemon = DaemonThreads().start
