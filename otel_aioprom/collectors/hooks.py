"""Pre-collection hooks: what must run before the values of a collector are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class HookProblem(NamedTuple):
    """A failure of a hook.

    Attributes:
        cause: ``raised`` or ``late``.
        message: A sentence for the log.
        part: The part of the collector that failed, such as one callback; the first failure of each part is logged.
        lost: There is no earlier value to expose.
    """

    cause: str
    message: str
    part: str
    lost: bool


class PreCollectHook(NamedTuple):
    """User code to run before each collection: in a thread of its own, or on the event loop that serves.

    Attributes:
        name: Distinguishes the hooks of one collector.
        run: Runs the hook in that thread, on behalf of the caller that it is passed; ``None`` to await the
            coroutine functions among the callbacks.
        callbacks: The ``Callbacks`` that the hook calls, if any.
    """

    name: str
    run: Callable[[object], Sequence[HookProblem]] | None
    callbacks: Any = None
