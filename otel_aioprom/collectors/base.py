"""The base of all native collectors: a name, a description, and the store of their series."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, SupportsIndex, TypeVar

from otel_aioprom._core.labels import Pairs, check_labels, label_texts, wire_pairs
from otel_aioprom._core.model import MetricFamily, Series, shallow_copy
from otel_aioprom._core.names import check_metric_name
from otel_aioprom._core.numbers import coerce_number
from otel_aioprom.collectors.hooks import PreCollectHook
from otel_aioprom.collectors.series.expiry import expiring_class
from otel_aioprom.collectors.series.generations import Generation
from otel_aioprom.collectors.series.limits import OVERFLOW_NAME, SeriesLimit, hiding_class
from otel_aioprom.collectors.series.number import NumberSeries
from otel_aioprom.collectors.series.owners import refuse_copy
from otel_aioprom.collectors.series.store import SeriesStore
from otel_aioprom.collectors.values import Values

if TYPE_CHECKING:
    from typing_extensions import Self

Labels = Mapping[str, object]
S = TypeVar("S", bound=Series)
T = TypeVar("T", bound=Series)


class SupportsRegister(Protocol):
    """A registry of collectors."""

    def register(self, collector: Any, /) -> None:
        """Expose a collector from now on."""


class MetricsTypes(Enum):
    """Kinds of collectors; the values are those of the protobuf format.

    Spec:
        N2, E64.
    """

    counter = 0
    gauge = 1
    summary = 2
    untyped = 3
    histogram = 4


class Collector(Generic[S]):
    """Base of all collectors; by itself, an untyped metric.

    A collector is exposed once it is registered. All methods may be called from any thread; recording never blocks.

    Args:
        name: Metric name, ``[a-zA-Z_:][a-zA-Z0-9_:]*``; by convention counters end in ``_total``.
        doc: What is measured, in a sentence; the HELP text.
        const_labels: Labels that every series of this collector has.
        registry: Registers the collector there on creation.
        max_series: Series limit: the most series that the collector keeps. Measurements of further label sets are
            recorded on one overflow series, labelled ``otel_metric_overflow="true"``; values that are set, which do
            not add up, are not exposed. ``None`` for no limit.
        expire_after: Idle time in seconds after which a series expires and is no longer exposed. It counts from the
            first collection after the last measurement. Recording on a bound child of the series revives it, with its
            value. ``None`` for never.

    Raises:
        InvalidNameError: The name is malformed.
        InvalidLabelsError: A constant label's name is not allowed.
        DuplicateCollectorError: The registry has this name already.
        TypeError: ``doc`` is no string, ``const_labels`` no mapping, ``registry`` no registry, or an option has the
            wrong type.
        ValueError: An option is out of range.

    Attributes:
        name: The argument.
        doc: The argument.
        const_labels: The argument, values as strings.
        kind: The type under which the metric is exposed.

    Spec:
        N1, N3, N4.
    """

    kind: ClassVar[MetricsTypes] = MetricsTypes.untyped
    _reserved: ClassVar[str | None] = None
    _is_prepared = False  # has callbacks, or series that expire: what collections look at first
    _expires = False

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
        if registry is not None and (
            isinstance(registry, type) or not callable(getattr(registry, "register", None))
        ):
            raise TypeError(f"registry must be a CollectorRegistry, not {registry!r}")
        if not isinstance(doc, str):
            raise TypeError(f"doc must be a str that describes what is measured, not {doc!r}")
        self.doc = doc
        check_labels({} if const_labels is None else const_labels, self._reserved)
        self.const_labels = dict(wire_pairs(const_labels or {}, {}))
        self._expires = self._is_prepared = expire_after is not None
        self._prepare()
        store: SeriesStore[S] = SeriesStore(
            self.name, self.const_labels, self._reserved, self._make, max_series, expire_after
        )
        self._use(Generation(store))
        if registry is not None:
            registry.register(self)

    def _prepare(self) -> None:
        """Create what must exist before the collector is registered."""

    def labels(self, labels: Labels | None = None) -> S:
        """Return the series of a label set, the bound child; create it if there is none.

        Args:
            labels: Names and values in any order, values of any type; ``None`` and ``{}`` stand for no labels.

        Returns:
            The series. Recording on it needs no look-up, which suits hot paths.

        Raises:
            TypeError: ``labels`` is no mapping.
            InvalidLabelsError: A name is not allowed; nothing is stored.

        Spec:
            N3.
        """
        child = self._find(labels)
        return self._create(labels) if child is None else child

    def _allowed(self, labels: Labels | None) -> Labels:
        """Return a copy of the labels; refuse those that cannot be recorded on before anything is measured."""
        labels = {} if labels is None else labels
        if self._find(labels) is not None:  # so its values are strings already
            return dict(labels)
        check_labels(labels, self._reserved)
        return label_texts(labels)

    def _create(self, given: Labels | None) -> S:
        """Find the series under a canonical form of its labels, or create it."""
        return self._store.create(given)

    def _create_for(self, labels: Labels | None, value: Any) -> S:
        """Bind a label set for its first value; a refused value creates no series."""
        self._check_recorded(value)
        return self._create(labels)

    def _check_recorded(self, value: Any) -> None:
        coerce_number(value)

    def _make(self, names: tuple[str, ...], values: tuple[str, ...], text: str) -> Any:
        """Create a series; the base class keeps plain numbers."""
        return self._class_for(NumberSeries, names)(names, values, text)

    def _class_for(self, cls: type[T], names: tuple[str, ...]) -> type[T]:
        """Return the class of series to create: one that tracks measurements if series expire.

        Args:
            cls: The plain class.
            names: Label names of the series; the overflow series is hidden once a value is set on it.
        """
        if OVERFLOW_NAME in names:
            cls = hiding_class(cls)
        return expiring_class(cls) if self._expires else cls

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
            value: A number; a ``histogram.Histogram`` for histograms, an estimator for summaries, what ``get`` returns
                for ``Info``, ``StateSet`` and ``Enum``.

        Raises:
            TypeError: ``value`` has the wrong type, or the histogram has native buckets.
            ValueError: The state is unknown, or the estimator is inconsistent.
            InvalidLabelsError: A label name is not allowed; nothing is stored.
        """
        self._check_stored(value)
        self._set_value(self.labels(labels), value)

    def _check_stored(self, value: Any) -> None:
        """Refuse what cannot be stored, before a series is created for it."""
        coerce_number(value)

    def _set_value(self, child: Any, value: Any) -> None:
        child.set(value)

    def get_value(self, labels: Labels | None = None) -> Any:
        """Return what is stored for a label set.

        Raises:
            KeyError: There is no such series; none is created.
        """
        return self._get_value(self._known(labels))

    def _get_value(self, child: Any) -> Any:
        return child.get()

    def get(self, labels: Labels | None = None) -> Any:
        """Return the value of a label set in readable form.

        Returns:
            A number; for histograms and summaries a dict of bounds or quantiles, ``"count"`` and ``"sum"``; for an
            ``Info`` the dict of info labels, for a ``StateSet`` a dict from state to ``bool``, for an ``Enum`` the
            state.

        Raises:
            KeyError: There is no such series; none is created.
        """
        child: Any = self._known(labels)
        return child.get()

    def get_all(self) -> list[tuple[dict[str, str], Any]]:
        """Return all label sets (without the constant labels), each with what ``get`` returns for it."""
        children: list[tuple[dict[str, str], Any]] = self._store.series.entries()
        return [(labels, child.get()) for labels, child in children]

    @property
    def values(self) -> Values:
        """A live view of what is stored, by label set, as aioprometheus has it.

        ``values[labels]``, ``labels in values``, ``len(values)``, ``values.items()`` and iteration read it,
        ``del values[labels]`` is ``remove``. ``collector.values = {}`` is ``clear()``, and so is any other empty mapping;
        nothing else can be assigned.
        """
        return Values(self, lambda: self._store.series)

    @values.setter
    def values(self, values: Any) -> None:
        if not isinstance(values, Mapping) or len(values):
            raise TypeError(
                "only an empty mapping can be assigned to values, which removes all series; "
                f"set_value(labels, value) stores a value, not {values!r}"
            )
        self.clear()

    def remove(self, labels: Labels | None) -> None:
        """Remove a series; it is no longer exposed.

        Raises:
            KeyError: There is no such series.
        """
        if not self._store.remove(labels):
            raise self._unknown(labels)

    def remove_matching(self, labels: Labels) -> int:
        """Remove all series that have these labels, among others.

        Args:
            labels: Names and values; an empty value matches an absent label.

        Returns:
            The number of series removed.
        """
        return self._store.remove_matching(labels)

    def drop(self, child: S) -> None:
        """Remove a series if it is still the one stored for its labels."""
        self._store.drop(child)

    def clear(self) -> None:
        """Remove all series."""
        self._store.clear()

    @contextmanager
    def replace(self) -> Iterator[Self]:
        """Fill a new set of series and swap it in for the old one at the end of the block.

        Yields:
            A collector of the same kind, empty and without callbacks. Its series are exposed all at once
            when the block ends. If the block raises, nothing changes.
        """
        other = self._copy_empty()
        try:
            yield other
        except BaseException:
            other._store.abandon()  # noqa: SLF001 - the same class
            raise
        self._take(other)

    def _copy_empty(self) -> Self:
        other = shallow_copy(self)
        other._use(Generation(self._store.empty()))  # noqa: SLF001 - the same class
        return other

    def _take(self, other: Self) -> None:
        mine = other._generation
        before = self._generation.append(mine)
        while self._generation is not (latest := mine.latest()):  # blocks may end at the same time
            self._use(latest)
        mine.value.take_over(before.value)

    def _use(self, generation: Generation[SeriesStore[S]]) -> None:
        store = generation.value
        self._store = store
        self._find = store.series.find_quickly
        self._generation = generation  # last, because `_take` compares it with the latest one

    def _latest(self) -> Iterator[SeriesStore[S]]:
        """Yield the latest store, and those that replace it while the caller works on it."""
        done = None
        while done is not (latest := self._generation.latest()):
            yield latest.value
            done = latest

    def count_overflows(self) -> int:
        """Return how often the series limit refused a label set."""
        return self._store.overflowed

    def join_limit(self, limit: SeriesLimit) -> None:
        """Count the series towards a limit that is shared with other collectors."""
        for store in self._latest():
            store.join_limit(limit)

    def leave_limit(self, limit: SeriesLimit) -> None:
        """Stop counting the series towards a shared limit."""
        for store in self._latest():
            store.leave_limit(limit)

    def pre_collect_hooks(self) -> list[PreCollectHook]:
        """Return the user code that must run before each collection."""
        return []

    def expire_idle(self) -> None:
        """Expire idle series, as each collection does first."""
        self._store.sweep()

    def family(self) -> MetricFamily:
        """Return the metric family; its series are live.

        If a subclass overrides ``get_all``, the registry calls that instead; see ``CollectorRegistry.register``.
        """
        return self.family_of(self._store.series.snapshot())

    def family_of(self, series: Sequence[S]) -> MetricFamily:
        """Return the metric family of some series.

        Args:
            series: Series of the class that this collector creates.
        """
        return MetricFamily(self.name, self.kind.name, self.doc, "", series)

    def count_to_build(self) -> int:
        """Return how many series the family must be built from: none where series are exposed as they are."""
        return 0

    def fill(self, series: Sequence[S]) -> None:
        """Replace all series at once by those of a collected source.

        Args:
            series: Series of the class that this collector creates, no two with the same labels.
        """
        self._store.fill(series)
        self._use(self._generation)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Collector) or type(self) is not type(other):
            return NotImplemented
        return self._contents() == other._contents()

    __hash__ = None  # type: ignore[assignment]

    def _contents(self) -> tuple[str, str, dict[Pairs, Any]]:
        values = {tuple(sorted(labels.items())): value for labels, value in self.get_all()}
        return self.name, self.doc, values

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> str | tuple[Any, ...]:
        if type(self).__reduce__ is not object.__reduce__:  # a subclass knows how
            return super().__reduce_ex__(protocol)
        raise refuse_copy(f"{type(self).__name__} {self.name}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {len(self._store.series)} series>"
