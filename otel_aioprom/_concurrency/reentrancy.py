"""Re-entrancy guard: user code that is called to collect something must not collect it again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar


class _ActiveCall:
    """A guarded call, visible to all that it calls and starts."""

    __slots__ = ("guarded", "returned")

    def __init__(self, guarded: object) -> None:
        self.guarded = guarded
        self.returned = False


_active_calls: ContextVar[tuple[_ActiveCall, ...]] = ContextVar("active_calls", default=())


@contextmanager
def reentrancy_guard(guarded: object) -> Iterator[None]:
    """Mark an object as being called, for all that this block calls and starts (tasks, threads with its context)."""
    call = _ActiveCall(guarded)
    token = _active_calls.set((*_active_calls.get(), call))
    try:
        yield
    finally:
        call.returned = True  # for what was started and lives on
        with suppress(ValueError):  # a coroutine that is thrown away ends in another context
            _active_calls.reset(token)


def is_reentrant(guarded: object) -> bool:
    """Return whether the caller was called, or started, by a block that guards this object and has not returned yet."""
    return any(call.guarded is guarded and not call.returned for call in _active_calls.get())
