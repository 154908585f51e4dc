"""SIGTERM: what has to be done before it ends the process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

_POLL_INTERVAL = 0.5  # seconds

EXIT_STATUS = 128 + signal.SIGTERM
"""Exit status of a process that ends itself because of the signal, as shells report it."""


class SigtermHandler:
    """The one handler of ``SIGTERM``, installed as long as somebody has to be told of the signal.

    When the last one is removed, the signal gets its default handler back, and ends the process if it has come.

    Since Python 3.13 the interpreter misses signals that come while it runs Python code, if a thread other than the main
    one has forked the process: it marks them in the thread that was the main one. There, event loops ask for them.
    """

    def __init__(self) -> None:
        self._callbacks: dict[object, Callable[[], bool]] = {}
        self._received = False
        self._pid = os.getpid()
        self._forking = threading.local()
        self._misses_signals = False

    def add(
        self,
        key: object,
        callback: Callable[[], bool],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> bool:
        """Call a function when the signal comes.

        Does nothing if the application handles the signal, and outside of the main thread.

        Args:
            key: For ``remove``.
            callback: Called by the signal handler. Returns whether to raise ``SystemExit`` in the code that runs then.
            loop: The running event loop, if there is one.

        Returns:
            Whether the signal has come already, and the process is about to end.
        """
        if threading.current_thread() is not threading.main_thread():
            return False
        handler = signal.getsignal(signal.SIGTERM)
        if handler is signal.SIG_DFL:
            self._pid = os.getpid()
            signal.signal(signal.SIGTERM, self._handle)
        elif handler != self._handle:
            return False
        self._callbacks[key] = callback
        if self._misses_signals and loop is not None:
            self._poll(key, loop)
        return self._received

    def remove(self, key: object) -> None:
        """Remove a function, if it was added; if it is the last one, the process ends if the signal has come."""
        if self._callbacks.pop(key, None) is None or self._callbacks:
            return
        installed = self._uninstall()
        received, self._received = self._received, False
        if installed and received:
            _end_process()

    def before_fork(self) -> None:
        """Hold the signal back in the forking thread: CPython drops what reaches a child before it has begun."""
        self._forking.is_main = threading.get_ident() == threading.main_thread().ident
        if self._callbacks:
            self._forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def after_fork_in_parent(self) -> None:
        """Let the signal through again."""
        mask = self._forking.__dict__.pop("mask", None)
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def after_fork_in_child(self) -> None:
        """Give the signal its default handler in a child process: who is told of it lives in the parent."""
        if sys.version_info >= (3, 13) and not getattr(self._forking, "is_main", True):
            self._misses_signals = True
        self._callbacks.clear()
        self._uninstall()
        self._received = False
        self.after_fork_in_parent()

    def _poll(self, key: object, loop: asyncio.AbstractEventLoop) -> None:
        """Handle a signal that the interpreter has missed; again and again, until the function is removed."""
        if key in self._callbacks:
            signal.pthread_sigmask(signal.SIG_BLOCK, ())  # calls the handlers of what has come
            loop.call_later(_POLL_INTERVAL, self._poll, key, loop)

    def _uninstall(self) -> bool:
        """Return whether the handler was installed; a signal that comes meanwhile is handled before."""
        installed = signal.getsignal(signal.SIGTERM) == self._handle
        if installed:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return installed

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:  # a child, before ``after_fork_in_child`` is called
            _end_process()
        self._received = True
        interrupts = [callback() for callback in list(self._callbacks.values())]  # all are called
        if any(interrupts):
            raise SystemExit(EXIT_STATUS)


def call_in_loop(loop: asyncio.AbstractEventLoop, function: Callable[[], object]) -> bool:
    """Let an event loop call a function as soon as it runs.

    Returns:
        Whether that may be never, because the loop does not run: what to return to ``SigtermHandler.add``.
    """
    if not loop.is_closed():
        loop.call_soon_threadsafe(function)
    return not loop.is_running()


def _end_process() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
    os._exit(EXIT_STATUS)  # the kernel keeps the signal from PID 1, as in a container


sigterm = SigtermHandler()

if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(
        before=sigterm.before_fork,
        after_in_parent=sigterm.after_fork_in_parent,
        after_in_child=sigterm.after_fork_in_child,
    )
