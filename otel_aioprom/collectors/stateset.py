"""StateSet and Enum: states, exposed as series of ones and zeros."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from otel_aioprom._core.labels import check_labels, label_value
from otel_aioprom._core.model import MetricFamily, Series
from otel_aioprom._core.names import check_metric_name
from otel_aioprom.collectors.base import Collector, Labels, MetricsTypes, SupportsRegister
from otel_aioprom.collectors.series.number import NumberSeries, number_of
from otel_aioprom.collectors.series.owners import BoundSeries


class StatesSeries(BoundSeries):
    """The states of one label set; what is exposed is rebuilt at the first reading after a change.

    Args:
        names: Label names, sorted.
        values: Their values.
        text: Both as exposition text.
        label: Name of the label that has the state as its value: the metric's name.
        states: All states.
        single: Exactly one state is on at any time, the first one initially.
    """

    __slots__ = (
        "_choices",
        "_exposed",
        "_on",
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
        # Each state off and on: series that never change, whose labels are encoded once.
        self._choices = [_off_and_on((*self.pairs, (label, state))) for state in states]
        self._version = object()
        self._exposed: tuple[object, Sequence[Series]] = (None, ())

    @property
    def exposed(self) -> Sequence[Series]:
        """What is exposed: a series for each state, from one consistent snapshot."""
        version, (known, exposed) = self._version, self._exposed
        if known is not version:
            # A copy, for other threads may set states. In an enumeration, none is ever set in the dict itself.
            states = self._on | ({self._state: True} if self._single else {})
            exposed = [choice[on] for choice, on in zip(self._choices, states.values())]
            self._exposed = version, exposed
        return exposed

    def get(self) -> Any:
        """Return the current state of an enumeration, or all states and whether they are on."""
        return self._state if self._single else self._on.copy()

    def set(self, state: str, on: bool = True) -> None:
        """Switch a state on or off; in an enumeration, the others go off.

        Raises:
            ValueError: The state is unknown, or an enumeration would be left without a state.
        """
        state = check_state(state, self._on, on=bool(on) or not self._single)
        # One assignment each, so that threads that set other states lose no update.
        if self._single:
            self._state = state
        else:
            self._on[state] = bool(on)
        self._version = object()


def check_state(state: object, states: Collection[str], *, on: bool = True) -> str:
    """Return a state as a string.

    Args:
        state: The state, as passed by the user.
        states: All states.
        on: It is to be on, or may be switched off: the state of an enumeration may not.

    Raises:
        ValueError: The state is unknown, or may not be switched off.
    """
    text = label_value(state)
    if text not in states:
        raise ValueError(f"the states are {', '.join(states)}, not {text!r}")
    if not on:
        raise ValueError("an enumeration is always in a state: set another one instead")
    return text


def _off_and_on(pairs: Iterable[tuple[str, str]]) -> tuple[NumberSeries, NumberSeries]:
    off = number_of(pairs, 0)
    return off, NumberSeries(off.names, off.values, off.text, 1)


class StateSet(Collector[StatesSeries]):
    """States of which any number may be on; each is a series of the value 1 or 0 with the state as a label.

    Args:
        name: Metric name, and name of the label that has the state as its value.
        doc: What the states describe, in a sentence.
        states: All states; the first one is the initial state of an ``Enum``.
        const_labels: Labels that every series has.
        registry: Registers the collector there on creation.
        max_series: See ``Collector``; a label set counts as one series.
        expire_after: See ``Collector``.

    Raises:
        TypeError: ``states`` is a single string; or as for ``Collector``.
        ValueError: There are no states, or duplicates; or as for ``Collector``.
        InvalidLabelsError: ``name`` is no allowed label name: it has a colon, or is reserved by Prometheus.

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
            raise TypeError(f"states must be a list of strings, not {states!r}")
        self.states = tuple([label_value(state) for state in states])
        if not self.states or len({*self.states}) < len(self.states) or "" in self.states:
            raise ValueError(f"states must be distinct strings, at least one: {self.states}")
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
        make = self._class_for(StatesSeries, names)
        return make(names, values, text, self._label, self.states, single=self._single)

    def set(self, labels: Labels | None, state: str, on: bool = True) -> None:
        """Switch a state on or off.

        Args:
            labels: Names and values.
            state: One of ``states``; in an ``Enum``, it replaces the current one.
            on: ``False`` switches the state off, which an ``Enum`` refuses.

        Raises:
            ValueError: The state is unknown, or ``on`` is false for an ``Enum``.
            InvalidLabelsError: A label name is not allowed.
        """
        child = self._find(labels)
        if child is None:
            # First: a refused state creates no series.
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
        """Return the metric family; all states of a label set are from one consistent snapshot."""
        exposed = [one for states in series for one in states.exposed]
        return MetricFamily(self.name, "stateset", self.doc, "", exposed)

    def count_to_build(self) -> int:
        """Return how many series the family must be built from."""
        return len(self._store.series) * len(self.states)


def _states_in(value: Any) -> Iterable[tuple[object, bool]]:
    """Return the states of a stored value: that of an enumeration, or all of them."""
    return value.items() if isinstance(value, Mapping) else [(value, True)]


class Enum(StateSet):
    """States of which exactly one is current; initially the first one.

    Arguments and errors are those of ``StateSet``.

    Examples:
        >>> phase = Enum("phase", "What it is at.", ["starting", "running", "stopping"])
        >>> phase.set({}, "running")
        >>> phase.get()
        'running'
    """

    _single = True
