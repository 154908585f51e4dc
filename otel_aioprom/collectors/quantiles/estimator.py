"""Estimators: quantiles of what is observed one by one."""

from __future__ import annotations

from array import array
from itertools import accumulate

import quantile

from otel_aioprom._core.numbers import coerce_number
from otel_aioprom.collectors.quantiles.ckms import (
    BATCH,
    EMPTY,
    Invariants,
    Stream,
    estimate,
    limit_of,
    merged,
    patience,
)

_FINEST = 1e-12  # a stream that asks for more would keep all values that anybody can observe
_USUAL = ((0.5, 0.01), (0.99, 0.001))  # what the package takes when it is given nothing


def check_invariant(q: float, error: float) -> None:
    """Refuse a quantile and an allowed error for which there is no limit.

    Raises:
        ValueError: One of them does not lie between 0 and 1, or is too near to it.
    """
    if not (_FINEST <= q <= 1 - _FINEST and _FINEST <= error < 1):
        raise ValueError(
            f"quantile and allowed error must lie between 0 and 1, {_FINEST} away at least, not {(q, error)}"
        )


class Estimator(quantile.Estimator):  # type: ignore[misc]  # the package ships no types
    """Quantiles of all values so far, each within the error that its invariant allows.

    It keeps what the package's class promises: of n values, the rank of ``query(q)`` lies within (q ± error) · n, for every stream and every
    n. Where no rank does, because n is small, it is the rank nearest above q · n. Equal values have all of their ranks. Memory is bounded in
    practice: some 75 values for the usual invariants, several hundred for streams that are made to fill it. Like the package's, it
    is not for many threads.

    Args:
        *invariants: Pairs of quantile, from 0 to 1, and allowed error, between 0 and 1; the package's
            default when there are none.

    Attributes:
        invariants: As given.
        count: How many values were observed, NaN among them.
        total: Their sum.

    Raises:
        ValueError: A quantile or an error is out of range.

    Spec:
        N8.

    Examples:
        >>> estimator = Estimator((0.5, 0.01))
        >>> for value in range(1, 10_000):
        ...     estimator.observe(value)
        >>> 4900 <= estimator.query(0.5) <= 5100
        True
    """

    def __init__(self, *invariants: tuple[float, float]) -> None:
        self.invariants: Invariants = tuple(
            (float(q), float(error)) for q, error in invariants or _USUAL
        )
        for q, error in self.invariants:
            if q not in (0, 1):
                check_invariant(q, error)
            elif not 0 < error < 1:
                raise ValueError(f"an allowed error lies between 0 and 1, unlike {error}")
        self.count = 0
        self.total: int | float = 0
        self._stream = EMPTY
        self._waiting = array("d")
        self._enough = BATCH

    def observe(self, value: float) -> None:
        """Take a value; NaN has no rank, so it is counted and spoils the sum, and no quantile sees it.

        Raises:
            TypeError: ``value`` is no number.
        """
        value = coerce_number(value)
        self.count += 1
        self.total += value
        if value == value:  # noqa: PLR0124 - NaN differs from itself
            self._waiting.append(value)
            if len(self._waiting) >= self._enough:
                self._enough = patience([self.stream()])

    def stream(self) -> Stream:
        """Return what is known of all values so far."""
        if self._waiting:
            waiting = sorted(self._waiting)
            self._stream = merged(self._stream, waiting, limit_of(self.invariants))
            del self._waiting[: len(waiting)]  # a finalizer may have observed more meanwhile
        return self._stream

    def __copy__(self) -> Estimator:
        """Return an estimator that knows the same; neither sees what is observed on the other."""
        other = Estimator(*self.invariants)
        other._stream = self.stream()
        other.count, other.total, other._enough = self.count, self.total, self._enough
        return other

    # What the package's class calls them, which offers no public names.

    @property
    def _observations(self) -> int:
        return self.count

    @property
    def _sum(self) -> int | float:
        return self.total

    def query(self, q: float) -> float:
        """Return the estimate of a quantile; NaN if there are no values.

        Args:
            q: From 0 to 1. The promise is for quantiles of the invariants; for others, the estimate is the best there is.

        Raises:
            ValueError: ``q`` is out of range.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile lies between 0 and 1, unlike {q}")
        return estimate(self.stream(), q, dict(self.invariants).get(q, 0.0))


def stream_of(estimator: quantile.Estimator) -> Stream:
    """Return what an estimator knows, of this module's class or of the package's.

    The package's class holds its first 511 values as they came. Of longer streams it keeps values with weights that
    do not even add up, so their ranks are taken as shares of the count.
    """
    if isinstance(estimator, Estimator):
        return estimator.stream()
    weighted = [(float(value), 1) for value in estimator._buffer]  # noqa: SLF001 - there is no other way to ask
    sample = estimator._head  # noqa: SLF001
    while sample is not None:
        weighted.append((float(sample._value), sample._rank))  # noqa: SLF001
        sample = sample._successor  # noqa: SLF001
    ranked = sorted(pair for pair in weighted if pair[0] == pair[0])
    if not ranked:
        return EMPTY
    count = estimator._observations - len(weighted) + len(ranked)  # noqa: SLF001
    sums = list(accumulate(weight for _, weight in ranked))
    ranks = array("q", [max(1, round(rank / sums[-1] * count)) for rank in sums])
    return Stream(count, array("d", [value for value, _ in ranked]), ranks, ranks)
