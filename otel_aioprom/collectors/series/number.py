"""Series that hold one number: the bound children of counters and gauges."""

from __future__ import annotations

from collections.abc import Iterable
from time import time

from otel_aioprom._concurrency.atomic import one_step
from otel_aioprom._core.labels import labels_text
from otel_aioprom._core.model import Exemplar, Series
from otel_aioprom._core.numbers import INT_LIMIT, Number, coerce_number
from otel_aioprom.collectors.series.exemplars import ExemplarLabels, ExemplarSource, make_exemplar


@one_step("set")
class NumberSeries(Series):
    """A label set with a number, as a plain collector keeps it.

    Args:
        names: Label names as exposed, sorted.
        values: Their values.
        text: Both as exposition text.
        value: Where the series starts.
    """

    __slots__ = ("names", "text", "value", "values", "wire")

    def __init__(
        self,
        names: tuple[str, ...] = (),
        values: tuple[str, ...] = (),
        text: str = " ",
        value: Number = 0,
    ) -> None:
        self.names = names
        self.values = values
        self.text = text
        self.value = value
        self.wire = None

    def get(self) -> Number:
        """Return the current value."""
        return self.value

    def set(self, value: Number) -> None:
        """Replace the value.

        Raises:
            TypeError: ``value`` is no number.
        """
        self.value = value if type(value) is float else coerce_number(value)


@one_step("inc", "add", "set")
class CounterSeries(NumberSeries):
    """One series of a counter, bound: recording on it looks no labels up.

    It stays usable when its collector forgets the series, but nothing shows it any more.

    Args:
        names: Label names as exposed, sorted.
        values: Their values.
        text: Both as exposition text.
        value: Where the series starts.
        created: When counting began, in seconds since the epoch, if that is known.

    """

    __slots__ = ("_exemplar", "created")

    def __init__(
        self,
        names: tuple[str, ...] = (),
        values: tuple[str, ...] = (),
        text: str = " ",
        value: Number = 0,
        created: float | None = None,
    ) -> None:
        super().__init__(names, values, text, value)
        self.created = created
        self._exemplar: Exemplar | None = None

    @property
    def exemplar(self) -> Exemplar | None:
        """The latest one, if there is any."""
        return self._exemplar

    @exemplar.setter
    def exemplar(self, exemplar: Exemplar | None) -> None:
        self._exemplar = exemplar
        self.wire = None  # which would stand for a series without one

    def set(self, value: Number) -> None:
        """Replace the value; a smaller one is a reset, from which counting begins anew.

        Raises:
            TypeError: ``value`` is no number.
        """
        value = coerce_number(value)
        if value < self.value:
            self.created = time()
            self.exemplar = None  # of what is not counted any more
        self.value = value

    def inc(self, exemplar: ExemplarLabels | None = None) -> None:
        """Add one.

        Args:
            exemplar: Labels that lead to what is counted, such as a trace id.

        Raises:
            InvalidLabelsError: The exemplar's labels are not allowed; nothing changes.
        """
        if exemplar is None:
            self.value += 1
        else:
            self._add_with(1, exemplar)

    def add(self, value: Number, exemplar: ExemplarLabels | None = None) -> None:
        """Add an amount of zero or more; ``exemplar`` is as for ``inc``.

        Raises:
            ValueError: The amount is negative, or the exemplar's labels are not allowed; nothing changes.
            TypeError: The amount is no number.
        """
        kind = type(value)
        if kind is not float and (kind is not int or value > INT_LIMIT):
            value = coerce_number(value)
        if value < 0:
            raise ValueError(
                f"a counter only rises: add 0 or more, not {value}; a gauge takes negative amounts"
            )
        if exemplar is None:
            self.value += value
        else:
            self._add_with(value, exemplar)

    def _add_with(self, value: Number, exemplar: ExemplarLabels) -> None:
        kept = make_exemplar(exemplar, value)
        self.value += value
        self.exemplar = kept


class SampledCounterSeries(CounterSeries):
    """A series that asks for an exemplar with each measurement.

    Attributes:
        source: Gives their labels.
    """

    __slots__ = ("source",)
    source: ExemplarSource

    def inc(self, exemplar: ExemplarLabels | None = None) -> None:
        """Add one; see ``CounterSeries.inc``."""
        super().inc(self.source.ask() if exemplar is None else exemplar)

    def add(self, value: Number, exemplar: ExemplarLabels | None = None) -> None:
        """Add an amount; see ``CounterSeries.add``."""
        super().add(value, self.source.ask() if exemplar is None else exemplar)


@one_step("inc", "dec", "add", "sub", "set")
class GaugeSeries(NumberSeries):
    """One series of a gauge, bound: recording on it looks no labels up.

    It stays usable when its collector forgets the series, but nothing shows it any more.
    """

    __slots__ = ()

    def inc(self) -> None:
        """Add one."""
        self.value += 1

    def dec(self) -> None:
        """Take one away."""
        self.value -= 1

    def add(self, value: Number) -> None:
        """Add an amount, which may be negative.

        Raises:
            TypeError: The amount is no number.
        """
        kind = type(value)
        if kind is not float and (kind is not int or not -INT_LIMIT <= value <= INT_LIMIT):
            value = coerce_number(value)
        self.value += value

    def sub(self, value: Number) -> None:
        """Take an amount away, which may be negative.

        Raises:
            TypeError: The amount is no number.
        """
        kind = type(value)
        if kind is not float and (kind is not int or not -INT_LIMIT <= value <= INT_LIMIT):
            value = coerce_number(value)
        self.value -= value


class UpDownSeries(GaugeSeries):
    """A gauge that a sum feeds: where two of them have the same labels, they add up."""

    __slots__ = ()


def number_of(pairs: Iterable[tuple[str, str]], value: Number) -> NumberSeries:
    """Make a series of a label set.

    Args:
        pairs: Names and values, in any order; those that are empty are left out.
        value: Where the series starts.
    """
    labels = tuple(sorted([pair for pair in pairs if pair[1]]))
    names, values = tuple([name for name, _ in labels]), tuple([text for _, text in labels])
    return NumberSeries(names, values, labels_text(labels), value)
