"""What all native collectors share: a name, a description, and the store of their series."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from otel_aioprom._core.labels import check_labels, label_texts, wire_pairs
from otel_aioprom._core.model import MetricFamily, Series
from otel_aioprom._core.names import check_metric_name
from otel_aioprom._core.numbers import coerce_number
from otel_aioprom.collectors.hooks import Chore, Problem
from otel_aioprom.collectors.series.expiry import watched
from otel_aioprom.collectors.series.generations import Turn
from otel_aioprom.collectors.series.limits import Bound
from otel_aioprom.collectors.series.number import NumberSeries
from otel_aioprom.collectors.series.store import SeriesStore

if TYPE_CHECKING:
    from typing_extensions import Self

Labels = Mapping[str, object]
S = TypeVar("S", bound=Series)


class SupportsRegister(Protocol):
    """What takes collectors: a registry."""

    def register(self, collector: Any, /) -> None:
        """Expose a collector from now on."""


class MetricsTypes(Enum):
    """Kinds of collectors, with the numbers that the protobuf format gives them.

    Spec:
        N2, E64.
    """

    counter = 0
    gauge = 1
    summary = 2
    untyped = 3
    histogram = 4


class Collector(Generic[S]):
    """Base of all collectors; used by itself, an untyped metric.

    Nothing registers itself. All methods may be called from any thread; recording never waits.

    Args:
        name: Metric name, ``[a-zA-Z_:][a-zA-Z0-9_:]*``; counters end in ``_total`` by custom.
        doc: What is measured, in a sentence; becomes the HELP text.
        const_labels: Labels that every series of this collector has.
        registry: Registers the collector there on creation.
        max_series: How many series there may be. What has no place is recorded on one more, labelled
            ``otel_metric_overflow="true"``.
        expire_after: Seconds without a measurement after which a series is forgotten, counted from the first collection
            after the last one. It goes at a collection, and comes back with its value when somebody who holds it records on it.

    Raises:
        InvalidNameError: The name is malformed.
        InvalidLabelsError: A constant label's name is not allowed.
        DuplicateCollectorError: The registry has this name already.
        TypeError: ``doc`` is no text, ``const_labels`` no mapping, ``registry`` none, or an option of another kind.
        ValueError: An option is out of range.

    Attributes:
        name: As given.
        doc: As given.
        const_labels: As given, values as text.
        kind: What the metric is exposed as.

    Spec:
        N1, N3, N4.
    """

    kind: ClassVar[MetricsTypes] = MetricsTypes.untyped
    _reserved: ClassVar[str | None] = None

    def __init__(
        self,
        name: str,
        doc: str,
        const_labels: Mapping[str, object] | None = None,
        *,
        registry: SupportsRegister | None = None,
        max_series: int | None = None,
        expire_after: float | None = None,
    ) -> None:
        self.name = check_metric_name(name)
        if not (registry is None or callable(getattr(registry, "register", None))):
            raise TypeError(f"registry must be a CollectorRegistry, not {registry!r}")
        if not isinstance(doc, str):
            raise TypeError(f"doc must be a str that says what is measured, not {doc!r}")
        self.doc = doc
        check_labels({} if const_labels is None else const_labels, self._reserved)
        self.const_labels = dict(wire_pairs(const_labels or {}, {}))
        self._ages = expire_after is not None
        store: SeriesStore[S] = SeriesStore(
            self.name, self.const_labels, self._reserved, self._make, max_series, expire_after
        )
        self._use(Turn(store))
        if registry is not None:
            registry.register(self)

    def labels(self, labels: Labels | None = None) -> S:
        """Bind a label set: find its series, or make it.

        Args:
            labels: Names and values in any order, values of any type; ``None`` and ``{}`` stand for no labels.

        Returns:
            The series, on which hot code records without a look-up.

        Raises:
            TypeError: ``labels`` is no mapping.
            InvalidLabelsError: A name is not allowed; nothing is stored.

        Spec:
            N3.
        """
        child = self._find(labels)
        return self._create(labels) if child is None else child

    def _allowed(self, labels: Labels | None) -> Labels:
        """Return labels as they are now, before anything is measured; refuse those that cannot be recorded on."""
        labels = {} if labels is None else labels
        if self._find(labels) is not None:  # so its values are texts already
            return dict(labels)
        check_labels(labels, self._reserved)
        return label_texts(labels)

    def _create(self, given: Labels | None) -> S:
        """Find a series under another spelling of its labels, or make it."""
        return self._store.create(given)

    def _create_for(self, labels: Labels | None, value: Any) -> S:
        """Bind a label set for its first value; one that is refused leaves no series behind."""
        self._check_recorded(value)
        return self._create(labels)

    def _check_recorded(self, value: Any) -> None:
        coerce_number(value)

    def _make(self, names: tuple[str, ...], values: tuple[str, ...], text: str) -> Any:
        """Make a series; the base keeps plain numbers."""
        return self._class_for(NumberSeries)(names, values, text)

    def _class_for(self, cls: Any) -> Any:
        """Return the class of series to use: one that notes measurements, if series expire."""
        return watched(cls) if self._ages else cls

    def _known(self, labels: Labels | None) -> S:
        child = self._store.series.find(labels)
        if child is None:
            raise self._unknown(labels)
        return child

    def _unknown(self, labels: Labels | None) -> KeyError:
        return KeyError(f"{self.name} has no series with the labels {dict(labels or {})!r}")

    def set_value(self, labels: Labels | None, value: Any) -> None:
        """Replace what is stored for a label set.

        Args:
            labels: Names and values; ``None`` and ``{}`` stand for none.
            value: A number; a ``histogram.Histogram`` on histograms, an estimator on summaries; facts or states, as ``get``
                returns them.

        Raises:
            TypeError: ``value`` is of another kind, or the histogram has native buckets.
            ValueError: There is no such state, or the estimator makes no sense.
            InvalidLabelsError: A label name is not allowed; nothing is stored.
        """
        self._check_stored(value)
        self._set_value(self.labels(labels), value)

    def _check_stored(self, value: Any) -> None:
        """Refuse what cannot be stored, before a series is made for it."""
        coerce_number(value)

    def _set_value(self, child: Any, value: Any) -> None:
        child.set(value)

    def get_value(self, labels: Labels | None = None) -> Any:
        """Return what is stored for a label set.

        Raises:
            KeyError: There is no such series; none is made.
        """
        return self._get_value(self._known(labels))

    def _get_value(self, child: Any) -> Any:
        return child.get()

    def get(self, labels: Labels | None = None) -> Any:
        """Return the value of a label set, as people read it.

        Returns:
            A number; for histograms and summaries a dict from bound or quantile, ``"count"`` and ``"sum"``; for an ``Info`` the dict
            of facts, for a ``StateSet`` one from state to whether it holds, for an ``Enum`` the state.

        Raises:
            KeyError: There is no such series; none is made.
        """
        child: Any = self._known(labels)
        return child.get()

    def get_all(self) -> list[tuple[dict[str, str], Any]]:
        """Return all label sets (without the constant labels), each with what ``get`` gives for it."""
        children: list[tuple[dict[str, str], Any]] = self._store.series.entries()
        return [(labels, child.get()) for labels, child in children]

    def remove(self, labels: Labels | None) -> None:
        """Forget a series; the next response does not show it.

        Raises:
            KeyError: There is no such series.
        """
        if not self._store.remove(labels):
            raise self._unknown(labels)

    def remove_matching(self, labels: Labels) -> int:
        """Forget all series that have these labels, among others.

        Args:
            labels: Names and values; an empty value stands for a label that is absent.

        Returns:
            How many there were.
        """
        return self._store.remove_matching(labels)

    def drop(self, child: S) -> None:
        """Forget a series, if it is exactly this one that its labels have."""
        self._store.drop(child)

    def clear(self) -> None:
        """Forget all series."""
        self._store.clear()

    @contextmanager
    def replace(self) -> Iterator[Self]:
        """Fill a new set of series, and show it in place of the old one when the block has ended.

        Yields:
            A collector of the same kind, empty and without functions; what is recorded on it is shown all at
            once. If the block raises, nothing changes.
        """
        other = self._copy_empty()
        try:
            yield other
        except BaseException:
            other._store.abandon()  # noqa: SLF001 - the same class
            raise
        self._take(other)

    def _copy_empty(self) -> Self:
        other = copy(self)
        other._use(Turn(self._store.empty()))  # noqa: SLF001 - the same class
        return other

    def _take(self, other: Self) -> None:
        mine = other._turn
        before = self._turn.followed_by(mine)
        while self._turn is not (latest := mine.latest()):  # of several that end at once
            self._use(latest)
        mine.thing.succeed(before.thing)

    def _use(self, turn: Turn[SeriesStore[S]]) -> None:
        store = turn.thing
        self._store = store
        self._find = store.series.find_quickly
        self._turn = turn  # last, for whoever looks whether it is the latest one

    def _latest(self) -> Iterator[SeriesStore[S]]:
        """Give the latest store, and those that come to follow it while something is done with it."""
        done = None
        while done is not (latest := self._turn.latest()):
            yield latest.thing
            done = latest

    def count_overflows(self) -> int:
        """Return how often a label set was asked for that there was no place for."""
        return self._store.overflowed

    def bound_by(self, bound: Bound) -> None:
        """Count the series among those of others, too, which together have a bound."""
        for store in self._latest():
            store.bound_by(bound)

    def unbound_by(self, bound: Bound) -> None:
        """Count the series for themselves again."""
        for store in self._latest():
            store.unbound_by(bound)

    def chores(self) -> list[Chore]:
        """Return what must be done before each collection."""
        return [Chore("expire", run=self._expire)] if self._ages else []

    def _expire(self, _asking: object) -> Sequence[Problem]:
        self._store.sweep()
        return ()

    def family(self) -> MetricFamily:
        """Return the metric family as it stands now, its series live.

        Overridden ``get_all`` methods are asked by the registry instead, see ``CollectorRegistry.register``.
        """
        return self.family_of(self._store.series.snapshot())

    def family_of(self, series: Sequence[S]) -> MetricFamily:
        """Return the metric family that shows some series.

        Args:
            series: Of the kind that this collector makes.
        """
        return MetricFamily(self.name, self.kind.name, self.doc, "", series)

    def count_made(self) -> int:
        """Return how many series must be looked at to make the family: none where they are shown as they are."""
        return 0

    def fill(self, series: Sequence[S]) -> None:
        """Replace all series at once by those of a collection from elsewhere.

        Args:
            series: Of the kind that this collector makes, no two with the same labels.
        """
        self._store.fill(series)
        self._use(self._turn)

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        assert isinstance(other, Collector)  # noqa: S101 - tells the type checker what the line above did
        return (self.name, self.doc) == (
            other.name,
            other.doc,
        ) and self._contents() == other._contents()

    __hash__ = None  # type: ignore[assignment]

    def _contents(self) -> dict[tuple[tuple[str, str], ...], Any]:
        return {tuple(sorted(labels.items())): value for labels, value in self.get_all()}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {len(self._store.series)} series>"
