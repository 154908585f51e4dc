"""Series that hold one number: the bound children of counters and gauges."""

from __future__ import annotations

from collections.abc import Iterable
from time import time

from otel_aioprom._concurrency.atomic import atomic_methods
from otel_aioprom._core.labels import labels_text
from otel_aioprom._core.model import Exemplar
from otel_aioprom._core.numbers import INT_LIMIT, Number, coerce_number
from otel_aioprom.collectors.series.exemplars import ExemplarLabels, ExemplarSource, make_exemplar
from otel_aioprom.collectors.series.owners import BoundSeries


@atomic_methods("set")
class NumberSeries(BoundSeries):
    """One series with a number, as a plain collector keeps it.

    Args:
        names: Label names as exposed, sorted.
        values: Their values.
        text: Both as exposition text.
        value: Initial value.
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


@atomic_methods("inc", "add", "set")
class CounterSeries(NumberSeries):
    """One series of a counter, a bound child: recording on it needs no look-up.

    It stays usable when its collector removes the series, but is no longer exposed.

    Args:
        names: Label names as exposed, sorted.
        values: Their values.
        text: Both as exposition text.
        value: Initial value.
        created: Start time in seconds since the epoch, if known.
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
        """The latest exemplar, if any."""
        return self._exemplar

    @exemplar.setter
    def exemplar(self, exemplar: Exemplar | None) -> None:
        self._exemplar = exemplar
        self.wire = None  # the cached encoding may be that of a series without an exemplar

    def set(self, value: Number) -> None:
        """Replace the value; a smaller one is a reset, with the current time as the start time.

        Raises:
            TypeError: ``value`` is no number.
        """
        value = coerce_number(value)
        if value < self.value:
            self.created = time()
            self.exemplar = None  # it belongs to the count before
        self.value = value

    def inc(self, exemplar: ExemplarLabels | None = None) -> None:
        """Add one.

        Args:
            exemplar: Labels of an exemplar, such as a trace id.

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
    """A counter's series with an exemplar function.

    Attributes:
        source: Returns the labels of exemplars.
    """

    __slots__ = ("source",)
    source: ExemplarSource

    def inc(self, exemplar: ExemplarLabels | None = None) -> None:
        """Add one; see ``CounterSeries.inc``."""
        super().inc(self.source.labels() if exemplar is None else exemplar)

    def add(self, value: Number, exemplar: ExemplarLabels | None = None) -> None:
        """Add an amount; see ``CounterSeries.add``."""
        super().add(value, self.source.labels() if exemplar is None else exemplar)


@atomic_methods("inc", "dec", "add", "sub", "set")
class GaugeSeries(NumberSeries):
    """One series of a gauge, a bound child: recording on it needs no look-up.

    It stays usable when its collector removes the series, but is no longer exposed.
    """

    __slots__ = ()

    def inc(self) -> None:
        """Add one."""
        self.value += 1

    def dec(self) -> None:
        """Subtract one."""
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
        """Subtract an amount, which may be negative.

        Raises:
            TypeError: The amount is no number.
        """
        kind = type(value)
        if kind is not float and (kind is not int or not -INT_LIMIT <= value <= INT_LIMIT):
            value = coerce_number(value)
        self.value -= value


class UpDownSeries(GaugeSeries):
    """A gauge from an up-down counter: series with the same labels are summed."""

    __slots__ = ()


def number_of(pairs: Iterable[tuple[str, str]], value: Number) -> NumberSeries:
    """Create a series for a label set.

    Args:
        pairs: Names and values, in any order; empty values are dropped.
        value: Initial value.
    """
    labels = tuple(sorted([pair for pair in pairs if pair[1]]))
    names, values = tuple([name for name, _ in labels]), tuple([text for _, text in labels])
    return NumberSeries(names, values, labels_text(labels), value)
