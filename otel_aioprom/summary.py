"""Summaries: the store of one series, streaming quantiles beside count and sum."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Sequence

from quantile import Estimator

from otel_aioprom.atomic import one_step
from otel_aioprom.model import Series
from otel_aioprom.numbers import coerce_number

Invariants = tuple[tuple[float, float], ...]

_PENDING_LIMIT = 500


def check_invariants(invariants: Iterable[tuple[float, float]]) -> Invariants:
    """Return pairs of quantile and allowed rank error, in ascending order of the quantile.

    Raises:
        ValueError: A quantile or an error does not lie between 0 and 1, or a quantile comes twice.

    Spec:
        N8.
    """
    pairs = tuple(sorted([(float(quantile), float(error)) for quantile, error in invariants]))
    for quantile, error in pairs:
        if not (0 < quantile < 1 and 0 < error < 1):
            raise ValueError(
                f"quantile and allowed error must lie between 0 and 1, not {(quantile, error)}"
            )
    if len({quantile for quantile, _ in pairs}) < len(pairs):
        raise ValueError(f"a quantile comes twice: {pairs}")
    return pairs


class Quantiles(Series):
    """What all series of summaries can tell."""

    __slots__ = ()

    def quantiles(self) -> Sequence[tuple[float, float]]:
        """Return each quantile with its estimate, ascending."""
        raise NotImplementedError

    def snapshot(self) -> tuple[int, float]:
        """Return count and sum, both of one moment."""
        raise NotImplementedError

    def get(self) -> dict[str | float, int | float]:
        """Return quantile → estimate, then ``"count"`` and ``"sum"``."""
        found: dict[str | float, int | float] = dict(self.quantiles())
        found["count"], found["sum"] = self.snapshot()
        return found


@one_step("load", "snapshot")
class SummaryPoint(Quantiles):
    """A summary that was worked out elsewhere.

    Args:
        names: Label names as exposed, sorted.
        values: Their values.
        text: Both as exposition text.
        count: How many values were observed.
        total: Their sum.
        estimates: Pairs of quantile and estimate, ascending.
        created: When counting began, in seconds since the epoch, if that is known.
    """

    __slots__ = ("_estimates", "count", "created", "names", "text", "total", "values", "wire")

    def __init__(
        self,
        names: tuple[str, ...],
        values: tuple[str, ...],
        text: str,
        count: int,
        total: float,
        estimates: Sequence[tuple[float, float]],
        created: float | None = None,
    ) -> None:
        self.names = names
        self.values = values
        self.text = text
        self.count = count
        self.total = total
        self._estimates = estimates
        self.created = created
        self.wire = None

    def load(self, count: int, total: float, estimates: Sequence[tuple[float, float]]) -> None:
        """Replace everything in one step, as a collection from elsewhere does.

        Args:
            count: How many values were observed.
            total: Their sum.
            estimates: Pairs of quantile and estimate, ascending.
        """
        self.count = count
        self.total = total
        self._estimates = estimates

    def quantiles(self) -> Sequence[tuple[float, float]]:
        """Return each quantile with its estimate, ascending."""
        return self._estimates

    def snapshot(self) -> tuple[int, float]:
        """Return count and sum."""
        return self.count, self.total


@one_step("_count", "snapshot")
class SummarySeries(Quantiles):
    """One series of a summary, bound: recording on it looks no labels up.

    The estimator is no matter for many threads. Observations wait in a list, to which threads
    append without waiting for each other; whoever finds it long, or asks for a quantile, hands
    them over.

    Args:
        names: Label names as exposed, sorted.
        values: Their values.
        text: Both as exposition text.
        invariants: As ``check_invariants`` returns them.
        created: When counting began, in seconds since the epoch, if that is known.
    """

    __slots__ = (
        "_answer",
        "_answered",
        "_estimator",
        "_lock",
        "_pending",
        "count",
        "created",
        "invariants",
        "names",
        "text",
        "total",
        "values",
        "wire",
    )

    def __init__(
        self,
        names: tuple[str, ...],
        values: tuple[str, ...],
        text: str,
        invariants: Invariants,
        created: float | None = None,
    ) -> None:
        self.names = names
        self.values = values
        self.text = text
        self.invariants = invariants
        self.created = created
        self.wire = None
        self.count = 0
        self.total: int | float = 0
        self._estimator = Estimator(*invariants)
        self._pending: list[int | float] = []
        self._lock = threading.Lock()
        self._answered = -1
        self._answer: list[tuple[float, float]] = []

    def observe(self, value: float) -> None:
        """Take a value into count, sum and quantiles; NaN into count and sum only.

        Raises:
            TypeError: ``value`` is no number, or a ``bool``.
        """
        if isinstance(value, bool):
            raise TypeError("a summary observes numbers, and a bool is none")
        value = coerce_number(value)
        self._count(value)
        if value == value:  # noqa: PLR0124 - NaN differs from itself
            self._pending.append(value)
            if len(self._pending) >= _PENDING_LIMIT and self._lock.acquire(blocking=False):
                self._hand_over()

    add = observe

    def _count(self, value: float) -> None:
        self.count += 1
        self.total += value

    def snapshot(self) -> tuple[int, float]:
        """Read count and sum in one step."""
        return self.count, self.total

    def _hand_over(self) -> None:
        """Give what waits to the estimator; the caller has taken the lock, which is given back."""
        try:
            waiting = self._pending[:]
            for value in waiting:
                self._estimator.observe(value)
            del self._pending[: len(waiting)]
        finally:
            self._lock.release()

    @property
    def estimator(self) -> Estimator:
        """The estimator, with every observation so far."""
        self._lock.acquire()
        self._hand_over()
        return self._estimator

    def quantiles(self) -> list[tuple[float, float]]:
        """Return each quantile with its estimate, ascending; NaN while nothing was observed."""
        estimator = self.estimator
        observed: int = estimator._observations  # noqa: SLF001 - the package offers no other way to ask
        if not observed:  # asked while empty, the estimator raises
            return [(quantile, math.nan) for quantile, _ in self.invariants]
        with self._lock:
            # Asking changes the estimator. So its answer is kept until the next observation: two
            # scrapes with nothing between them must agree.
            if observed != self._answered:
                self._answer = [
                    (quantile, estimator.query(quantile)) for quantile, _ in self.invariants
                ]
                self._answered = observed
            return self._answer

    def load(self, estimator: Estimator) -> None:
        """Start over from an estimator that was filled elsewhere."""
        with self._lock:
            self._pending.clear()
            self._estimator = estimator
            self._answered = -1
            self.count = estimator._observations  # noqa: SLF001 - the package offers no other way to ask
            self.total = estimator._sum  # noqa: SLF001
