"""Summaries: the store of one series, streaming quantiles beside count and sum."""

from __future__ import annotations

import operator
from array import array
from collections.abc import Iterable
from time import time
from typing import TYPE_CHECKING

from quantile import Estimator as PackageEstimator

from otel_aioprom._concurrency.atomic import one_step
from otel_aioprom._core.numbers import INT_LIMIT, Number, coerce_number
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
from otel_aioprom.collectors.quantiles.estimator import Estimator, check_invariant, stream_of
from otel_aioprom.collectors.quantiles.summary_point import Quantiles
from otel_aioprom.collectors.quantiles.window import WHOLE_LIFE, Window

if TYPE_CHECKING:
    from typing_extensions import Self

Streams = tuple[Stream, ...]

_ALL = slice(None)


def check_invariants(invariants: Iterable[tuple[float, float]]) -> Invariants:
    """Return pairs of quantile and allowed rank error, in ascending order of the quantile.

    Raises:
        TypeError: What is given are no pairs of numbers.
        ValueError: A quantile or an error does not lie between 0 and 1, or a quantile comes twice.

    Spec:
        N8.
    """
    try:
        given = [(float(quantile), float(error)) for quantile, error in invariants]
    except (TypeError, ValueError):
        raise TypeError(
            f"invariants must be pairs of a quantile and its allowed error, not {invariants!r}"
        ) from None
    pairs = tuple(sorted(given))
    for quantile, error in pairs:
        check_invariant(quantile, error)
    if len({quantile for quantile, _ in pairs}) < len(pairs):
        raise ValueError(f"a quantile comes twice: {pairs}")
    limit_of(pairs)  # now: of many quantiles it takes long, and it is kept
    return pairs


def check_observation(value: Number) -> int | float:
    """Return a value as a summary observes it, a plain ``int`` or ``float``.

    Raises:
        TypeError: It is no number, or a ``bool``.

    Spec:
        N8.
    """
    if isinstance(value, bool):
        raise TypeError("a summary observes numbers, and a bool is none")
    return coerce_number(value)


def contents_of(estimator: PackageEstimator) -> tuple[Stream, int, int | float]:
    """Return what an estimator knows: its values, their count, and their sum.

    Args:
        estimator: This package's class, quantile-python's, or a series.

    Raises:
        ValueError: It makes no sense.
    """
    try:
        if isinstance(estimator, SummarySeries):
            return estimator.stream(), *estimator.snapshot()
        # The package offers no other way to ask.
        count, total = estimator._observations, estimator._sum  # noqa: SLF001
        return stream_of(estimator), operator.index(count), coerce_number(total)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"an estimator that cannot be read: {error!r}") from error


@one_step("observe", "add", "snapshot", "_look", "_publish", "_restart")
class SummarySeries(Quantiles, Estimator):
    """One series of a summary, bound: recording on it looks no labels up.

    Observations wait in one array for all streams. Whoever finds it long works out the streams that follow and puts them
    in the place of the old ones, if these are still there. So nobody waits for anybody: no thread for another, and no signal
    handler for the code that it interrupts. Who reads works on the head stream for himself.

    Args:
        names: Label names as exposed, sorted.
        values: Their values.
        text: Both as exposition text.
        invariants: As ``check_invariants`` returns them.
        created: When counting began, in seconds since the epoch, if that is known.
        window: As ``check_window`` returns it.

    Spec:
        N8, N9, E115.
    """

    __slots__ = (
        "_answer",
        "_clock",
        "_due",
        "_since",
        "_streams",
        "_turn",
        "_waiting",
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
        self._waiting = array("d")
        self._due = BATCH
        self._clock = window.clock
        self._since = window.clock()
        self._turn = self._since + window.step
        self._streams: Streams = (EMPTY,) * window.streams
        self._answer: tuple[Streams, int, list[tuple[float, float]]] | None = None

    def observe(self, value: Number) -> None:
        """Take a value into count, sum and quantiles; NaN into count and sum only.

        Raises:
            TypeError: ``value`` is no number, or a ``bool``.
        """
        kind = type(value)
        if kind is not float and (kind is not int or not -INT_LIMIT <= value <= INT_LIMIT):
            value = check_observation(value)
        now = self._clock()
        if not self._since <= now < self._turn:  # the step is over, or the clock went back
            self._move(now)
        self.count = count = self.count + 1
        self.total += value
        if value == value:  # noqa: PLR0124 - NaN differs from itself
            self._waiting.append(value)
        if count >= self._due:
            self._hand_over()

    add = observe

    def snapshot(self) -> tuple[int, float]:
        """Read count and sum in one step."""
        return self.count, self.total

    def _hand_over(self) -> None:
        # Others go on until then. Should this thread never finish, one of them does its work.
        self._due = self.count + BATCH
        turn = self._turn
        self._renew(0, turn, turn)

    def _move(self, now: float) -> None:
        """Forget the streams that are too old by now, or begin the step anew if the clock went back."""
        step, streams, _ = self.window
        before = self._turn
        late = now - before
        if late < -step:
            self._since, self._turn = now, now + step
        if late < 0:
            return
        steps = late // step + 1
        turn = before + steps * step
        # What a clock without bounds or without digits makes of these goes no further.
        self._renew(int(min(streams, steps)), before, turn if now < turn else now + step)

    def _renew(self, expired: int, before: float, turn: float) -> None:
        """Hand what waits to all streams that go on, and replace the oldest ones by empty ones."""
        streams, waiting = self._look()
        waiting.sort()
        limit = limit_of(self.invariants)
        fresh: list[Stream] = []
        previous = made = None
        for stream in streams[expired:]:
            if made is None or stream is not previous:  # those that began together are one
                made = merged(stream, waiting, limit) if waiting else stream
            previous = stream
            fresh.append(made)
        fresh += [EMPTY] * expired
        self._publish((streams, before), (tuple(fresh), turn), slice(len(waiting)), patience(fresh))

    def _look(self) -> tuple[Streams, list[float]]:
        """Read the streams and what they do not have yet."""
        while True:
            streams = self._streams
            # No slice: while older interpreters make one, they may collect garbage, and so run any code.
            waiting = list(self._waiting)
            if streams is self._streams:
                return streams, waiting

    def _publish(
        self, old: tuple[Streams, float], new: tuple[Streams, float], done: slice, enough: int
    ) -> None:
        """Go on with other streams if nobody else has done so meanwhile."""
        if self._streams is old[0] and self._turn is old[1]:
            self._streams, self._turn = new
            if self._turn is not old[1]:
                self._since = self._turn - self.window.step
            del self._waiting[done]
            self._due = self.count + enough

    def _keep_up(self) -> None:
        """Follow the clock before somebody reads."""
        now = self._clock()
        if not self._since <= now < self._turn:
            self._move(now)

    def stream(self) -> Stream:
        """Return what is known of the values in the window, those that wait included."""
        self._keep_up()
        return self._head(*self._look())

    def _head(self, streams: Streams, waiting: list[float]) -> Stream:
        if not waiting:
            return streams[0]
        return merged(streams[0], sorted(waiting), limit_of(self.invariants))

    def quantiles(self) -> list[tuple[float, float]]:
        """Return each quantile with its estimate, ascending; NaN while the window is empty."""
        self._keep_up()
        answer = self._answer
        # The array never shortens without other streams: in this order, both are of one moment.
        if answer and answer[1] == len(self._waiting) and answer[0] is self._streams:
            return answer[2]
        streams, waiting = self._look()
        head = self._head(streams, waiting)
        found = [(q, estimate(head, q, error)) for q, error in self.invariants]
        self._answer = streams, len(waiting), found
        return found

    @property
    def estimator(self) -> Estimator:
        """The series itself, which can be asked for any quantile and takes values."""
        return self

    def load(self, estimator: PackageEstimator) -> None:
        """Start over from an estimator that was filled elsewhere; its values count as observed now.

        If they are fewer than before, that is a reset, from which counting begins anew; if they are the first, nobody knows when it began.

        Args:
            estimator: This module's class, the package's, or another series.

        Raises:
            ValueError: It makes no sense.
        """
        stream, count, total = contents_of(estimator)
        if count < self.count:
            self.created = time()
        elif not self.count and count:
            self.created = None  # when what was counted elsewhere began is not known
        streams = (stream,) * self.window.streams
        self._restart(streams, self._clock(), count, total)

    def _restart(self, streams: Streams, now: float, count: int, total: float) -> None:
        self._streams = streams
        del self._waiting[_ALL]
        self._since, self._turn = now, now + self.window.step
        self._due = count + BATCH
        self._answer = None
        self.count = count
        self.total = total

    def __copy__(self) -> Self:
        """Return this series as it stands now; neither sees what is observed on the other."""
        other = type(self)(self.names, self.values, self.text, self.invariants, None, self.window)
        other.load(self)
        other.created = self.created
        return other
