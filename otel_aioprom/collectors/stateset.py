"""StateSet and Enum: states, as series of ones and zeros."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from otel_aioprom._core.labels import check_labels, label_value
from otel_aioprom._core.model import MetricFamily, Series
from otel_aioprom._core.names import check_metric_name
from otel_aioprom.collectors.base import Collector, Labels, MetricsTypes, SupportsRegister
from otel_aioprom.collectors.series.number import NumberSeries, number_of


class StatesSeries(Series):
    """The states of one label set; what is exposed of them is put together anew when somebody looks after a change.

    Args:
        names: Label names, sorted.
        values: Their values.
        text: Both as exposition text.
        label: The label that names the state: the metric's name.
        states: All of them.
        single: One of them holds at any time, the first one at the beginning.
    """

    __slots__ = (
        "_choices",
        "_on",
        "_shown",
        "_single",
        "_state",
        "_version",
        "names",
        "text",
        "values",
        "wire",
    )

    def __init__(
        self,
        names: tuple[str, ...],
        values: tuple[str, ...],
        text: str,
        label: str,
        states: tuple[str, ...],
        *,
        single: bool,
    ) -> None:
        self.names = names
        self.values = values
        self.text = text
        self.wire = None
        self._single = single
        self._state = states[0]
        self._on = dict.fromkeys(states, False)
        # Each state that does not hold, and that holds: series that never change, whose labels are written once.
        self._choices = [_off_and_on((*self.pairs, (label, state))) for state in states]
        self._version = object()
        self._shown: tuple[object, Sequence[Series]] = (None, ())

    @property
    def shown(self) -> Sequence[Series]:
        """What is exposed: a series for each state, all of one moment."""
        version, (known, shown) = self._version, self._shown
        if known is not version:
            holding = self._holding().values()
            shown = [choice[on] for choice, on in zip(self._choices, holding)]
            self._shown = version, shown
        return shown

    def _holding(self) -> dict[str, bool]:
        if not self._single:
            return self._on.copy()
        holds = self._state
        return {state: state == holds for state in self._on}

    def get(self) -> Any:
        """Return the state that holds, or all states and whether they hold."""
        return self._state if self._single else self._on.copy()

    def set(self, state: str, on: bool = True) -> None:
        """Say that a state holds, or that it does not; of an enumeration, the others do not hold then.

        Raises:
            ValueError: There is no such state, or an enumeration would be left without any.
        """
        state = check_state(state, self._on, on=bool(on) or not self._single)
        # One assignment each, so that threads that set others lose nothing.
        if self._single:
            self._state = state
        else:
            self._on[state] = bool(on)
        self._version = object()


def check_state(state: object, states: Collection[str], *, on: bool = True) -> str:
    """Return the text of a state.

    Args:
        state: Something whose text it is.
        states: All that there are.
        on: Whether it may be set so: the only one that holds cannot be switched off.

    Raises:
        ValueError: There is no such state, or it may not be set so.
    """
    text = label_value(state)
    if text not in states:
        raise ValueError(f"the states are {', '.join(states)}, and {text!r} is none")
    if not on:
        raise ValueError("an enumeration is always in a state: set the one that holds")
    return text


def _off_and_on(pairs: Iterable[tuple[str, str]]) -> tuple[NumberSeries, NumberSeries]:
    off = number_of(pairs, 0)
    return off, NumberSeries(off.names, off.values, off.text, 1)


class StateSet(Collector[StatesSeries]):
    """States of which any number may hold, each a series of the value 1 or 0 with the state as a label.

    Args:
        name: Metric name, and name of the label that tells the state.
        doc: What the states are about, in a sentence.
        states: All that there are.
        const_labels: Labels that every series has.
        registry: Registers the collector there on creation.
        max_series: See ``Collector``; a label set counts as one.
        expire_after: See ``Collector``.

    Raises:
        TypeError: ``states`` is a single text; or as for ``Collector``.
        ValueError: There are no states, or one comes twice; or as for ``Collector``.
        InvalidLabelsError: The name cannot be that of a label, for it has a colon, or belongs to Prometheus.

    Examples:
        >>> features = StateSet("features", "What is switched on.", ["search", "chat"])
        >>> features.set({}, "chat", True)
        >>> features.get()
        {'search': False, 'chat': True}
    """

    kind = MetricsTypes.gauge
    _single = False

    def __init__(
        self,
        name: str,
        doc: str,
        states: Iterable[str],
        const_labels: Mapping[str, object] | None = None,
        *,
        registry: SupportsRegister | None = None,
        max_series: int | None = None,
        expire_after: float | None = None,
    ) -> None:
        if isinstance(states, (str, bytes)) or not isinstance(states, Iterable):
            raise TypeError(f"states must be several texts, not {states!r}: give a list")
        self.states = tuple([label_value(state) for state in states])
        if not self.states or len({*self.states}) < len(self.states) or "" in self.states:
            raise ValueError(f"states must be different texts, at least one: {self.states}")
        self._label = check_metric_name(name)
        check_labels({self._label: ""}, None)
        super().__init__(
            name,
            doc,
            const_labels,
            registry=registry,
            max_series=max_series,
            expire_after=expire_after,
        )

    @property
    def _reserved(self) -> str | None:  # type: ignore[override]
        return self._label

    def _make(self, names: tuple[str, ...], values: tuple[str, ...], text: str) -> StatesSeries:
        made: StatesSeries = self._class_for(StatesSeries)(
            names, values, text, self._label, self.states, single=self._single
        )
        return made

    def set(self, labels: Labels | None, state: str, on: bool = True) -> None:
        """Say that a state holds, or that it does not.

        Raises:
            ValueError: There is no such state.
            InvalidLabelsError: A label name is not allowed.
        """
        child = self._find(labels)
        if child is None:
            # What is refused leaves no series behind.
            check_state(state, self.states, on=bool(on) or not self._single)
            child = self._create(labels)
        child.set(state, on)

    def _check_stored(self, value: Any) -> None:
        for state, on in _states_in(value):
            check_state(state, self.states, on=bool(on) or not self._single)

    def _set_value(self, child: Any, value: Any) -> None:
        for state, on in _states_in(value):
            child.set(state, on)

    def family_of(self, series: Sequence[StatesSeries]) -> MetricFamily:
        """Return the metric family, all states of a label set of one moment."""
        shown = [one for states in series for one in states.shown]
        return MetricFamily(self.name, "stateset", self.doc, "", shown)

    def count_made(self) -> int:
        """Return how many series must be looked at to make the family."""
        return len(self._store.series) * len(self.states)


def _states_in(value: Any) -> Iterable[tuple[object, bool]]:
    """Return the states that a stored value is about: that of an enumeration, or all of them."""
    return value.items() if isinstance(value, Mapping) else [(value, True)]


class Enum(StateSet):
    """States of which one holds at any time; the first one until another is set.

    Arguments and errors are those of ``StateSet``.

    Examples:
        >>> phase = Enum("phase", "What it is at.", ["starting", "running", "stopping"])
        >>> phase.set({}, "running")
        >>> phase.get()
        'running'
    """

    _single = True
