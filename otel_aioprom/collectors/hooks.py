"""What has to be done before the values of a collector can be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class Problem(NamedTuple):
    """What went wrong.

    Attributes:
        cause: ``raised`` or ``late``.
        message: A sentence for the log.
        part: What of the collector it is about: of each part, a first problem is worth a line in the log.
        lost: There is no value from before that could be shown.
    """

    cause: str
    message: str
    part: str
    lost: bool


class Chore(NamedTuple):
    """Something to be done before each collection: in a worker thread, or on the event loop that serves.

    Attributes:
        name: Tells the chores of one collector apart.
        run: Does it, in a worker thread, for whoever it is given; if there is none, the coroutine functions are awaited.
        functions: Those that are asked.
    """

    name: str
    run: Callable[[object], Sequence[Problem]] | None
    functions: Any = None
