"""How many series there may be: bounds that a collector or a registry sets, and the places that series have in them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from operator import length_hint

from otel_aioprom._core.model import Series

_logger = logging.getLogger(__name__)

OVERFLOW = {"otel_metric_overflow": "true"}
"""Labels of the series that takes what no other series takes, as in the OpenTelemetry SDK."""

MANY = 10_000
"""Series of one collector that are worth a warning."""


class Bound:
    """A number of places, each for one series.

    A place is taken before a series is made and given back after it is gone. Each step is one operation of a list or an
    iterator, so that no lock is waited for: whoever runs in the middle, a finalizer or a signal handler, may make series too.

    Args:
        limit: The number, at least 1.

    Raises:
        TypeError: ``limit`` is no ``int``.
        ValueError: It is below 1.
    """

    def __init__(self, limit: int) -> None:
        if isinstance(limit, bool) or not isinstance(limit, int):
            raise TypeError(f"max_series must be an int, not {limit!r}")
        if limit < 1:
            raise ValueError(f"max_series must be at least 1, not {limit}")
        self.limit = limit
        self._unused = iter(range(min(limit, sys.maxsize)))
        self._returned: list[None] = []
        self._owed: list[None] = []

    def take(self) -> bool:
        """Take a place; tell whether there was one."""
        try:
            self._returned.pop()
        except IndexError:
            return next(self._unused, None) is not None
        return True

    def is_full(self) -> bool:
        """Tell whether there is no place just now."""
        return not self._returned and not length_hint(self._unused)

    def insist(self) -> None:
        """Take a place for a series that is there already; if there is none, the next one that is given back."""
        if not self.take():
            self._owed.append(None)

    def give_back(self) -> None:
        """Give a place back."""
        try:
            self._owed.pop()
        except IndexError:
            self._returned.append(None)


class Share:
    """The places that one collector has in a bound.

    Args:
        bound: Has the places.
        lent: So many places are not taken from the bound, but in the end from a share that this one succeeds.
    """

    def __init__(self, bound: Bound, lent: int = 0) -> None:
        self._bound = bound
        # With something true, if the place is taken from the bound already.
        self._places: dict[Series, object] = {}
        self._lent: Iterator[int] = iter(range(lent))
        self._is_closed = False

    def is_full(self) -> bool:
        """Tell whether there is no place for one more just now."""
        return not length_hint(self._lent) and self._bound.is_full()

    def successor(self) -> Share:
        """Return a share for a set of series that is to replace this one's."""
        return Share(self._bound, len(self._places))

    def admit(self, series: Series) -> bool:
        """Take a place for a series that is new; tell whether there was one."""
        taken = next(self._lent, None) is None
        if taken and not self._bound.take():
            return False
        self._places[series] = taken
        if self._is_closed:  # meanwhile
            self.release(series)
        return True

    def adopt(self, series: Series) -> None:
        """Take a place for a series that is there, unless it has one."""
        mine = [True]
        if self._places.setdefault(series, mine) is mine:
            self._bound.insist()
            if self._is_closed:  # meanwhile
                self.release(series)

    def release(self, series: Series) -> None:
        """Give the place of a series back, if it has one."""
        if self._places.pop(series, False):
            self._bound.give_back()

    def close(self) -> None:
        """Give all places back, and take no more."""
        self._is_closed = True  # first, for others may be taking places
        for series in list(self._places):
            self.release(series)

    def succeed(self, before: Share) -> None:
        """Take over from the share of a set that this one's replaces."""
        self._lent = iter(())
        for series in [each for each, taken in self._places.copy().items() if not taken]:
            self._places[series] = True
            if not before._hand_over():
                self._bound.insist()
        before.close()
        if self._is_closed:  # meanwhile
            self.close()

    def _hand_over(self) -> bool:
        """Part with a place without giving it back."""
        while self._places:
            try:
                _, taken = self._places.popitem()
            except KeyError:
                return False
            if taken:
                return True
        return False


class Shares:
    """All places of one set of series, in all bounds that it has.

    Args:
        own: The bound of the collector itself, if it has one.
    """

    def __init__(self, own: Bound | None) -> None:
        self._own = own
        self._shares: dict[Bound, Share] = {} if own is None else {own: Share(own)}
        self._is_closed = False

    def __bool__(self) -> bool:
        return bool(self._shares)

    def are_full(self) -> bool:
        """Tell whether there is no place for one more just now, so that a series need not be made to be refused."""
        return any(share.is_full() for share in self._shares.values())

    def admit(self, series: Series) -> bool:
        """Take a place for a new series in each bound, or in none; tell whether there was one in each."""
        taken: list[Share] = []
        for share in self._shares.values():
            if not share.admit(series):
                for each in taken:
                    each.release(series)
                return False
            taken.append(share)
        return True

    def adopt(self, series: Series) -> None:
        """Take places for a series that is there, unless it has them."""
        for share in self._shares.values():
            share.adopt(series)

    def release(self, series: Series) -> None:
        """Give the places of a series back."""
        for share in self._shares.values():
            share.release(series)

    def join(self, bound: Bound) -> None:
        """Take places in a bound, too, from now on."""
        self._shares = {bound: Share(bound), **self._shares}
        if self._is_closed:
            self.close()

    def leave(self, bound: Bound) -> None:
        """Give all places in a bound back."""
        left = dict(self._shares)
        share = left.pop(bound, None)
        if share is not None:
            self._shares = left
            share.close()

    def successor(self) -> Shares:
        """Return the shares of a set that is to replace this one."""
        own = None if self._own is None else Bound(self._own.limit)
        other = Shares(own)
        for bound, share in self._shares.items():
            if bound is not self._own:
                other._shares[bound] = share.successor()
        return other

    def succeed(self, before: Shares) -> bool:
        """Take over from the shares of the set that is replaced, and be in the bounds in which those are now.

        Returns:
            There are bounds among them in which no series has a place yet.
        """
        for bound, share in self._shares.items():
            if bound in before._shares:
                share.succeed(before._shares[bound])
            elif bound is not self._own:
                self.leave(bound)
        more = [
            each for each in before._shares if each not in self._shares and each is not before._own
        ]
        for bound in more:
            self.join(bound)
            if bound not in before._shares:  # it was left meanwhile
                self.leave(bound)
        before.close()
        return bool(more)

    def close(self) -> None:
        """Give all places back, and take no more."""
        self._is_closed = True  # first, for others may be joining a bound
        shares, self._shares = self._shares, {}
        for share in shares.values():
            share.close()


def warn_of_many(name: str, size: int, values: Mapping[str, int]) -> None:
    """Log that a collector has many series, and which of its labels makes most of them.

    Args:
        name: The collector's.
        size: How many series it has.
        values: Label → how many values it has.
    """
    label = max(values, key=lambda each: values[each])
    _logger.warning(
        "%s has %d series: its label %r has %d values (max_series= sets a bound; logged once)",
        name,
        size,
        label,
        values[label],
    )
