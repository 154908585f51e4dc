"""Series limits of collectors and registries, and the slots that series occupy in them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from otel_aioprom._concurrency.atomic import atomic_methods
from otel_aioprom._core.model import Series

_logger = logging.getLogger(__name__)

S = TypeVar("S", bound=Series)

OVERFLOW = {"otel_metric_overflow": "true"}
"""Labels of the overflow series, as in the OpenTelemetry SDK."""

(OVERFLOW_NAME,) = OVERFLOW

MANY = 10_000
"""Number of series of one collector that is logged as a warning."""


@atomic_methods("add")
class Tally:
    """A count to which any number of threads add."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self, amount: int) -> None:
        """Add an amount."""
        self.value += amount


@atomic_methods("take")
class Stock:
    """A number of equal things, which any number of threads take, each of them once.

    Args:
        left: How many there are.
    """

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self) -> bool:
        """Take one; return whether there was one."""
        left = self.left
        if left > 0:
            self.left = left - 1
            return True
        return False


class SeriesLimit:
    """A limited number of slots, each for one series.

    A slot is acquired before a series is created, and released after it is removed. Each step is one operation of a
    list or a stock, without a lock on builds with a GIL: a finalizer or a signal handler that runs in between may
    create series too.

    Args:
        limit: Number of slots, at least 1.

    Raises:
        TypeError: ``limit`` is no ``int``.
        ValueError: ``limit`` is below 1.
    """

    def __init__(self, limit: int) -> None:
        if isinstance(limit, bool) or not isinstance(limit, int):
            raise TypeError(f"max_series must be an int, not {limit!r}")
        if limit < 1:
            raise ValueError(f"max_series must be at least 1, not {limit}")
        self.limit = limit
        self._unused = Stock(limit)
        self._returned: list[None] = []
        self._owed: list[None] = []

    def acquire(self) -> bool:
        """Acquire a slot; return whether one was free."""
        try:
            self._returned.pop()
        except IndexError:
            return self._unused.take()
        return True

    def is_full(self) -> bool:
        """Return whether no slot is free."""
        return not self._returned and not self._unused.left

    def acquire_or_owe(self) -> None:
        """Acquire a slot for an existing series; if none is free, the next one that is released."""
        if not self.acquire():
            self._owed.append(None)

    def release(self) -> None:
        """Release a slot."""
        try:
            self._owed.pop()
        except IndexError:
            self._returned.append(None)


class SlotShare:
    """The slots that one set of series occupies in a limit.

    Args:
        limit: The limit.
        inherited: Number of slots that are not acquired from the limit, but taken over from the predecessor in the end.
    """

    def __init__(self, limit: SeriesLimit, inherited: int = 0) -> None:
        self._limit = limit
        # The value is true if the slot is acquired from the limit already.
        self._slots: dict[Series, object] = {}
        self._inherited = Stock(inherited)
        self._is_closed = False

    def is_full(self) -> bool:
        """Return whether no slot is free for another series."""
        return not self._inherited.left and self._limit.is_full()

    def successor(self) -> SlotShare:
        """Return the share of a set of series that is to replace this one's."""
        return SlotShare(self._limit, len(self._slots))

    def admit(self, series: Series) -> bool:
        """Acquire a slot for a new series; return whether one was free."""
        taken = not self._inherited.take()
        if taken and not self._limit.acquire():
            return False
        self._slots[series] = taken
        if self._is_closed:  # by another thread
            self.release(series)
        return True

    def adopt(self, series: Series) -> None:
        """Acquire a slot for an existing series, unless it has one."""
        mine = [True]
        if self._slots.setdefault(series, mine) is mine:
            self._limit.acquire_or_owe()
            if self._is_closed:  # by another thread
                self.release(series)

    def release(self, series: Series) -> None:
        """Release the slot of a series, if it has one."""
        if self._slots.pop(series, False):
            self._limit.release()

    def close(self) -> None:
        """Release all slots, and acquire no more."""
        self._is_closed = True  # first, for other threads may be acquiring slots
        for series in list(self._slots):
            self.release(series)

    def take_over(self, before: SlotShare) -> None:
        """Take over the slots of the share that this one replaces."""
        self._inherited = Stock(0)
        for series in [each for each, taken in self._slots.copy().items() if not taken]:
            self._slots[series] = True
            if not before._hand_over():
                self._limit.acquire_or_owe()
        before.close()
        if self._is_closed:  # by another thread
            self.close()

    def _hand_over(self) -> bool:
        """Hand over a slot without releasing it; return whether there was one."""
        while self._slots:
            try:
                _, taken = self._slots.popitem()
            except KeyError:
                return False
            if taken:
                return True
        return False


class SlotShares:
    """The slots of one set of series in all its limits.

    Args:
        own: The limit of the collector itself, if it has one.
    """

    def __init__(self, own: SeriesLimit | None) -> None:
        self._own = own
        self._shares: dict[SeriesLimit, SlotShare] = {} if own is None else {own: SlotShare(own)}
        self._is_closed = False

    def __bool__(self) -> bool:
        return bool(self._shares)

    def are_full(self) -> bool:
        """Return whether a new series would be refused, so that it need not be created first."""
        return any(share.is_full() for share in self._shares.values())

    def admit(self, series: Series) -> bool:
        """Acquire a slot for a new series in each limit, or in none; return whether it succeeded."""
        taken: list[SlotShare] = []
        for share in self._shares.values():
            if not share.admit(series):
                for each in taken:
                    each.release(series)
                return False
            taken.append(share)
        return True

    def adopt(self, series: Series) -> None:
        """Acquire slots for an existing series, unless it has them."""
        for share in self._shares.values():
            share.adopt(series)

    def release(self, series: Series) -> None:
        """Release the slots of a series."""
        for share in self._shares.values():
            share.release(series)

    def join(self, limit: SeriesLimit) -> None:
        """Acquire slots in another limit from now on."""
        self._shares = {limit: SlotShare(limit), **self._shares}
        if self._is_closed:
            self.close()

    def leave(self, limit: SeriesLimit) -> None:
        """Release all slots in a limit."""
        remaining = dict(self._shares)
        share = remaining.pop(limit, None)
        if share is not None:
            self._shares = remaining
            share.close()

    def successor(self) -> SlotShares:
        """Return the shares of a set of series that is to replace this one."""
        own = None if self._own is None else SeriesLimit(self._own.limit)
        other = SlotShares(own)
        for limit, share in self._shares.items():
            if limit is not self._own:
                other._shares[limit] = share.successor()
        return other

    def take_over(self, before: SlotShares) -> bool:
        """Take over the slots of the set that is replaced, and join the limits that it has joined meanwhile.

        Returns:
            Whether limits were joined, in which no series has a slot yet.
        """
        for limit, share in self._shares.items():
            if limit in before._shares:
                share.take_over(before._shares[limit])
            elif limit is not self._own:
                self.leave(limit)
        joined = [
            each for each in before._shares if each not in self._shares and each is not before._own
        ]
        for limit in joined:
            self.join(limit)
            if limit not in before._shares:  # left meanwhile
                self.leave(limit)
        before.close()
        return bool(joined)

    def close(self) -> None:
        """Release all slots, and acquire no more."""
        self._is_closed = True  # first, for other threads may be joining a limit
        shares, self._shares = self._shares, {}
        for share in shares.values():
            share.close()


_hiding_classes: dict[type, Any] = {}


def hiding_class(cls: type[S]) -> type[S]:
    """Return a subclass of a class of series that is hidden once a value is set on it.

    On the overflow series, which stands for any number of label sets, amounts add up, but of values that are set only
    the last one would be left: that of one label set, under the name of all.
    """
    if cls not in _hiding_classes:
        body: dict[str, Any] = {
            name: _hiding(getattr(cls, name)) for name in ("set", "load") if hasattr(cls, name)
        }
        body |= {"__slots__": ("hide",), "__doc__": cls.__doc__, "__module__": cls.__module__}
        _hiding_classes[cls] = type(cls.__name__, (cls,), body)
    made: type[S] = _hiding_classes[cls]
    return made


def _hiding(method: Callable[..., Any]) -> Callable[..., Any]:
    def store(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = method(self, *args, **kwargs)
        hide = getattr(
            self, "hide", None
        )  # absent where user code chose the labels of the overflow series
        if hide is not None:
            hide(self)
        return result

    return store


def hide_when_set(series: Any, hide: Callable[[Any], None]) -> None:
    """Hide an overflow series once a value is set on it.

    Args:
        series: Of a class that ``hiding_class`` has created; others are never hidden.
        hide: Called with the series after each value that is set.
    """
    if hasattr(type(series), "hide"):
        series.hide = hide


def warn_of_hidden(name: str) -> None:
    """Log that values beyond the series limit are not exposed.

    Args:
        name: Name of the collector.
    """
    _logger.warning(
        "%s: values set for label sets beyond its series limit are not exposed, since they do not add up: "
        "raise max_series=, or use labels with fewer values (logged once)",
        name,
    )


def warn_of_cardinality(name: str, size: int, values: Mapping[str, int]) -> None:
    """Log that a collector has many series, and which of its labels has the most values.

    Args:
        name: Name of the collector.
        size: Its number of series.
        values: Label name → number of distinct values.
    """
    label = max(values, key=lambda each: values[each])
    _logger.warning(
        "%s has %d series: its label %r has %d values (max_series= sets a limit; logged once)",
        name,
        size,
        label,
        values[label],
    )
