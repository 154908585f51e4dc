"""Estimators: streaming quantiles."""

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
    batch_size,
    error_function,
    estimate,
    merge,
)

_FINEST = 1e-12  # with a smaller error, a stream would keep every value that can be observed
_DEFAULT = ((0.5, 0.01), (0.99, 0.001))  # the default of quantile-python


def check_invariant(q: float, error: float) -> None:
    """Refuse an invariant that is out of range.

    Raises:
        ValueError: The quantile or the error is not between 0 and 1, or too close to one of them.
    """
    if not (_FINEST <= q <= 1 - _FINEST and _FINEST <= error < 1):
        raise ValueError(
            f"quantile and allowed error must lie between 0 and 1, {_FINEST} away at least, not {(q, error)}"
        )


class Estimator(quantile.Estimator):  # type: ignore[misc]  # the package ships no types
    """Quantiles of all values so far, each within the allowed error of its invariant.

    It keeps the guarantee that quantile-python documents: of n values, the rank of ``query(q)`` lies within (q ± error)
    · n, for every stream and every n. If no rank does, because n is small, it is the nearest rank above q · n. Equal
    values have all of their ranks. Memory is bounded in practice: about 75 samples for the default invariants, several
    hundred for adversarial streams. Like the class of quantile-python, it is not thread-safe.

    Args:
        *invariants: Pairs of quantile, from 0 to 1, and allowed error, between 0 and 1; the default of quantile-python
            when there are none.

    Attributes:
        invariants: The argument.
        count: Number of observed values, including NaN.
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
            (float(q), float(error)) for q, error in invariants or _DEFAULT
        )
        for q, error in self.invariants:
            if q not in (0, 1):
                check_invariant(q, error)
            elif not 0 < error < 1:
                raise ValueError(f"an allowed error must lie between 0 and 1, not {error}")
        self.count = 0
        self.total: int | float = 0
        self._stream = EMPTY
        self._buffer = array("d")
        self._batch_size = BATCH

    def observe(self, value: float) -> None:
        """Add a value; NaN counts and makes the sum NaN, but has no rank, so it affects no quantile.

        Raises:
            TypeError: ``value`` is no number.
        """
        value = coerce_number(value)
        self.count += 1
        self.total += value
        if value == value:  # noqa: PLR0124 - NaN differs from itself
            self._buffer.append(value)
            if len(self._buffer) >= self._batch_size:
                self._batch_size = batch_size([self.stream()])

    def stream(self) -> Stream:
        """Return the samples of all values so far."""
        if self._buffer:
            batch = sorted(self._buffer)
            self._stream = merge(self._stream, batch, error_function(self.invariants))
            del self._buffer[: len(batch)]  # a finalizer may have observed more meanwhile
        return self._stream

    def __copy__(self) -> Estimator:
        """Return an independent copy."""
        other = Estimator(*self.invariants)
        other._stream = self.stream()
        other.count, other.total, other._batch_size = self.count, self.total, self._batch_size
        return other

    # The names of quantile-python, which has no public ones.

    @property
    def _observations(self) -> int:
        return self.count

    @property
    def _sum(self) -> int | float:
        return self.total

    def query(self, q: float) -> float:
        """Return the estimate of a quantile; NaN if there are no values.

        Args:
            q: From 0 to 1. The guarantee is for quantiles of the invariants; others are estimated as well as the
                samples allow.

        Raises:
            ValueError: ``q`` is out of range.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile must lie between 0 and 1, not {q}")
        return estimate(self.stream(), q, dict(self.invariants).get(q, 0.0))


def stream_of(estimator: quantile.Estimator) -> Stream:
    """Return the samples of an estimator, of this module's class or of quantile-python's.

    The class of quantile-python buffers its first 511 values. Of longer streams it keeps samples with weights that
    do not add up to the count, so their ranks are scaled.
    """
    if isinstance(estimator, Estimator):
        return estimator.stream()
    weighted = [(float(value), 1) for value in estimator._buffer]  # noqa: SLF001 - there is no public way
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
