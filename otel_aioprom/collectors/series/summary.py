"""Series of summaries: streaming quantiles, count and sum."""

from __future__ import annotations

import operator
from array import array
from collections.abc import Iterable
from time import time
from typing import TYPE_CHECKING

from quantile import Estimator as PackageEstimator

from otel_aioprom._concurrency.atomic import atomic_methods
from otel_aioprom._core.numbers import INT_LIMIT, Number, coerce_number
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
from otel_aioprom.collectors.quantiles.estimator import Estimator, check_invariant, stream_of
from otel_aioprom.collectors.quantiles.summary_point import Quantiles
from otel_aioprom.collectors.quantiles.window import WHOLE_LIFE, Window
from otel_aioprom.collectors.series.owners import BoundSeries, refuse_if_owned

if TYPE_CHECKING:
    from typing_extensions import Self

Streams = tuple[Stream, ...]

_ALL = slice(None)


def check_invariants(invariants: Iterable[tuple[float, float]]) -> Invariants:
    """Return pairs of quantile and allowed rank error, in ascending order of the quantile.

    Raises:
        TypeError: ``invariants`` are no pairs of numbers.
        ValueError: A quantile or an error is not between 0 and 1, or a quantile is a duplicate.

    Spec:
        N8.
    """
    try:
        numbers = [(float(quantile), float(error)) for quantile, error in invariants]
    except (TypeError, ValueError):
        raise TypeError(
            f"invariants must be pairs of a quantile and its allowed error, not {invariants!r}"
        ) from None
    pairs = tuple(sorted(numbers))
    for quantile, error in pairs:
        check_invariant(quantile, error)
    if len({quantile for quantile, _ in pairs}) < len(pairs):
        raise ValueError(f"quantiles must be distinct: {pairs}")
    error_function(pairs)  # now, for it is cached, and slow for many quantiles
    return pairs


def check_observation(value: Number) -> int | float:
    """Return a value as a plain ``int`` or ``float``.

    Raises:
        TypeError: ``value`` is no number, or a ``bool``.

    Spec:
        N8.
    """
    if isinstance(value, bool):
        raise TypeError("a summary observes numbers, not a bool")
    return coerce_number(value)


def contents_of(estimator: PackageEstimator) -> tuple[Stream, int, int | float]:
    """Return the samples of an estimator, its count, and its sum.

    Args:
        estimator: An instance of this package's class, of quantile-python's, or a series.

    Raises:
        ValueError: Its state is inconsistent.
    """
    try:
        if isinstance(estimator, SummarySeries):
            return estimator.stream(), *estimator.snapshot()
        # quantile-python has no public way.
        count, total = estimator._observations, estimator._sum  # noqa: SLF001
        return stream_of(estimator), operator.index(count), coerce_number(total)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"the estimator cannot be read: {error!r}") from error


@atomic_methods("observe", "add", "snapshot", "_read", "_publish", "_restart")
class SummarySeries(BoundSeries, Quantiles, Estimator):
    """One series of a summary, a bound child: recording on it needs no look-up.

    Observations are buffered in one array for all streams. The thread that fills the buffer merges it into copies of
    the streams and publishes them unless another thread was faster. So nothing blocks: neither a thread another one,
    nor a signal handler the code that it interrupts. A reader merges the buffer into a head stream of its own.

    Args:
        names: Label names as exposed, sorted.
        values: Their values.
        text: Both as exposition text.
        invariants: As ``check_invariants`` returns them.
        created: Start time in seconds since the epoch, if known.
        window: As ``check_window`` returns it.

    Spec:
        N8, N9, E115.
    """

    __slots__ = (
        "_buffer",
        "_cache",
        "_clock",
        "_head_start",
        "_next_flush",
        "_streams",
        "_turn",
        "count",
        "created",
        "invariants",
        "names",
        "text",
        "total",
        "values",
        "window",
        "wire",
    )

    def __init__(
        self,
        names: tuple[str, ...],
        values: tuple[str, ...],
        text: str,
        invariants: Invariants,
        created: float | None = None,
        window: Window = WHOLE_LIFE,
    ) -> None:
        self.names = names
        self.values = values
        self.text = text
        self.invariants = invariants
        self.created = created
        self.window = window
        self.wire = None
        self.count = 0
        self.total: int | float = 0
        self._buffer = array("d")
        self._next_flush = BATCH
        self._clock = window.clock
        self._head_start = window.clock()
        self._turn = self._head_start + window.step
        self._streams: Streams = (EMPTY,) * window.streams
        self._cache: tuple[Streams, int, list[tuple[float, float]]] | None = None

    def observe(self, value: Number) -> None:
        """Add a value to count, sum and quantiles; NaN to count and sum only.

        Raises:
            TypeError: ``value`` is no number, or a ``bool``.
        """
        kind = type(value)
        if kind is not float and (kind is not int or not -INT_LIMIT <= value <= INT_LIMIT):
            value = check_observation(value)
        now = self._clock()
        if not self._head_start <= now < self._turn:  # expired, or the clock went back
            self._move(now)
        self.count = count = self.count + 1
        self.total += value
        if value == value:  # noqa: PLR0124 - NaN differs from itself
            self._buffer.append(value)
        if count >= self._next_flush:
            self._flush()

    add = observe

    def snapshot(self) -> tuple[int, float]:
        """Read count and sum in one step."""
        return self.count, self.total

    def _flush(self) -> None:
        # First: other threads go on until then. If this one never finishes, the next one flushes.
        self._next_flush = self.count + BATCH
        expiry = self._turn
        self._replace_streams(0, expiry, expiry)

    def _move(self, now: float) -> None:
        """Drop the expired streams, or restart the step if the clock went back."""
        step, streams, _ = self.window
        before = self._turn
        late = now - before
        if late < -step:
            self._head_start, self._turn = now, now + step
        if late < 0:
            return
        steps = late // step + 1
        expiry = before + steps * step
        # Both bounded, for the clock may return infinity, or a number too large to have fractions.
        self._replace_streams(
            int(min(streams, steps)), before, expiry if now < expiry else now + step
        )

    def _replace_streams(self, expired: int, before: float, expiry: float) -> None:
        """Merge the buffer into all streams that go on, and replace the oldest ones by empty ones."""
        streams, batch = self._read()
        batch.sort()
        segments = error_function(self.invariants)
        fresh: list[Stream] = []
        previous = merged = None
        for stream in streams[expired:]:
            if (
                merged is None or stream is not previous
            ):  # streams that began together are identical
                merged = merge(stream, batch, segments) if batch else stream
            previous = stream
            fresh.append(merged)
        fresh += [EMPTY] * expired
        self._publish(
            (streams, before), (tuple(fresh), expiry), slice(len(batch)), batch_size(fresh)
        )

    def _read(self) -> tuple[Streams, list[float]]:
        """Read the streams and the buffer that belongs to them."""
        while True:
            streams = self._streams
            # No slice: while older interpreters make one, they may collect garbage, and so run any code.
            batch = list(self._buffer)
            if streams is self._streams:
                return streams, batch

    def _publish(
        self, old: tuple[Streams, float], new: tuple[Streams, float], merged: slice, batch: int
    ) -> None:
        """Replace the streams unless another thread has done so meanwhile."""
        if self._streams is old[0] and self._turn is old[1]:
            self._streams, self._turn = new
            if self._turn is not old[1]:
                self._head_start = self._turn - self.window.step
            del self._buffer[merged]
            self._next_flush = self.count + batch

    def _rotate_if_due(self) -> None:
        now = self._clock()
        if not self._head_start <= now < self._turn:
            self._move(now)

    def stream(self) -> Stream:
        """Return the samples of the values in the window, the buffered ones included."""
        self._rotate_if_due()
        return self._head(*self._read())

    def _head(self, streams: Streams, batch: list[float]) -> Stream:
        if not batch:
            return streams[0]
        return merge(streams[0], sorted(batch), error_function(self.invariants))

    def quantiles(self) -> list[tuple[float, float]]:
        """Return each quantile with its estimate, ascending; NaN while the window is empty."""
        self._rotate_if_due()
        cached = self._cache
        # The buffer shrinks only when the streams are replaced: checked in this order, both are of the same time.
        if cached and cached[1] == len(self._buffer) and cached[0] is self._streams:
            return cached[2]
        streams, batch = self._read()
        head = self._head(streams, batch)
        found = [(q, estimate(head, q, error)) for q, error in self.invariants]
        self._cache = streams, len(batch), found
        return found

    @property
    def estimator(self) -> Estimator:
        """The series itself, which is an estimator."""
        return self

    def load(self, estimator: PackageEstimator) -> None:
        """Replace everything by the contents of an estimator; its values count as observed now.

        A smaller count than before is a reset, with the current time as the start time. The start time of the first
        values is unknown.

        Args:
            estimator: An instance of ``Estimator``, of quantile-python's class, or another series.

        Raises:
            ValueError: Its state is inconsistent.
        """
        stream, count, total = contents_of(estimator)
        if count < self.count:
            self.created = time()
        elif not self.count and count:
            self.created = None  # the start time of a count from elsewhere is unknown
        streams = (stream,) * self.window.streams
        self._restart(streams, self._clock(), count, total)

    def _restart(self, streams: Streams, now: float, count: int, total: float) -> None:
        self._streams = streams
        del self._buffer[_ALL]
        self._head_start, self._turn = now, now + self.window.step
        self._next_flush = count + BATCH
        self._cache = None
        self.count = count
        self.total = total

    def __copy__(self) -> Self:
        """Return an independent copy; a bound child refuses."""
        refuse_if_owned(self)
        return self._copied()

    def _copied(self) -> Self:
        other = type(self)(self.names, self.values, self.text, self.invariants, None, self.window)
        other.load(self)
        other.created = self.created
        return other
