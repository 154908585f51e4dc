"""Encode collections of metric families into remote write messages. No I/O."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args

from otel_aioprom._concurrency.thread_pool import MANY_FAMILIES, MANY_SERIES
from otel_aioprom._core.model import MetricFamily, Series
from otel_aioprom.formats.name_escaping import escape_names
from otel_aioprom.registry.faults import Fault
from otel_aioprom.remote_write.active_series import ActiveSeries
from otel_aioprom.remote_write.family_cache import FamilyCache, label_sets_of
from otel_aioprom.remote_write.family_encoder import BATCH, FamilyEncoder
from otel_aioprom.remote_write.fields import STALE
from otel_aioprom.remote_write.message import Message, MessagePacker, Steps, Writer
from otel_aioprom.remote_write.series_labels import SeriesLabelsEncoder
from otel_aioprom.remote_write.version1 import Writer1
from otel_aioprom.remote_write.version2 import Writer2

Version = Literal["1.0", "2.0"]
"""Versions of the remote write protocol."""

MAX_SAMPLES = 2000
"""Samples per message; Prometheus itself sends as many."""

_WRITERS: dict[Version, type[Writer[Any]]] = {"1.0": Writer1, "2.0": Writer2}
_NO_LABELS: Mapping[str, str] = MappingProxyType({})


class PreparedFamilies(NamedTuple):
    """Families with the names that a server gets, and what was wrong with them."""

    by_key: Mapping[str, MetricFamily]
    faults: Sequence[Fault]


class WriteEncoder:
    """Encode collections into messages; time series that have ended get a stale marker.

    An encoder belongs to one server and encodes one collection at a time. If a collection is abandoned half-way, only
    its unfinished message is lost.

    Args:
        version: Version of the protocol. UTF-8 names are escaped for 1.0 and sent unchanged with 2.0.
        external_labels: Labels for each series that has no label of that name, such as ``job`` and ``instance``.
        max_samples: Maximum number of samples and native histograms in a message.
        native_histograms: Send native histograms; otherwise only the classic buckets of a series.

    Attributes:
        faults: The series that could not be sent in the last collection.

    Raises:
        ValueError: The version is unknown, ``max_samples`` is below 1, or the name of an external label is empty or
            ``__name__``.

    Spec:
        E96 to E99, E104 to E106.

    Examples:
        >>> from otel_aioprom.collectors import Gauge
        >>> queue = Gauge("queue_jobs", "Jobs that wait.")
        >>> queue.set({}, 3)
        >>> encoder = WriteEncoder("2.0", {"job": "mailer"})
        >>> [each.samples for each in encoder.messages([queue.family()], 1700000000000) if each]
        [1]
    """

    def __init__(
        self,
        version: Version,
        external_labels: Mapping[str, str] = _NO_LABELS,
        *,
        max_samples: int = MAX_SAMPLES,
        native_histograms: bool = True,
    ) -> None:
        if version not in _WRITERS:
            raise ValueError(f"version must be one of {get_args(Version)}, not {version!r}")
        if max_samples < 1:
            raise ValueError(f"max_samples must be 1 or more, not {max_samples}")
        self.faults: list[Fault] = []
        self._ended: list[Any] = []
        self._writer = _WRITERS[version]()
        self._active: ActiveSeries[Any] = ActiveSeries()
        self._caches: dict[str, FamilyCache] = {}
        self._packer = MessagePacker(self._writer, max_samples)
        labels = SeriesLabelsEncoder(self._writer, external_labels)
        self._encoder = FamilyEncoder(
            self._writer, labels, self._active, self._packer, native_histograms
        )

    @property
    def native_histograms(self) -> bool:
        """Whether native histograms are sent; a change takes effect with the next collection."""
        return self._encoder.native

    @native_histograms.setter
    def native_histograms(self, native: bool) -> None:
        self._encoder.native = native

    def messages(
        self, families: Sequence[MetricFamily], timestamp: int
    ) -> Iterator[Message | None]:
        """Encode a collection.

        Time series of the last collection that are not in this one get a stale marker.

        Args:
            families: As a registry gathers them. Values are read while their message is encoded.
            timestamp: Timestamp of all samples, in milliseconds since the epoch; later than the last one.

        Returns:
            Messages, each encoded when it is read, all but the last one full; ``None`` about every fraction of a
            millisecond, to yield to the event loop.
        """
        return self.encode(self.prepare(families), timestamp)

    def is_large(self, families: Sequence[MetricFamily]) -> bool:
        """Return whether ``prepare`` would block an event loop for long."""
        if len(families) > MANY_FAMILIES:
            return True
        if self._writer.escaping == "allow-utf-8":
            return False
        return sum([len(each.series) for each in families if each.utf8]) > MANY_SERIES

    def prepare(self, families: Sequence[MetricFamily]) -> PreparedFamilies:
        """Escape the names of families; safe in a thread.

        Args:
            families: As for ``messages``.

        Returns:
            Families for ``encode``.
        """
        escaped, faults = escape_names(families, self._writer.escaping)
        return PreparedFamilies(_by_key(escaped), faults)

    def encode(self, prepared: PreparedFamilies, timestamp: int) -> Iterator[Message | None]:
        """Encode prepared families as ``messages`` does.

        Args:
            prepared: As ``prepare`` returns them.
            timestamp: As for ``messages``.

        Yields:
            As ``messages`` does.
        """
        by_key = prepared.by_key
        self._begin(timestamp)
        self.faults += prepared.faults
        for count, (key, cache) in enumerate(list(self._caches.items())):
            if key not in by_key or by_key[key].type != cache.type:
                yield from self._drop_family(key)
            elif count % BATCH == 0:
                yield None
        for key, family in by_key.items():
            yield from self._encode_family(key, family)
        yield from self._write_stale_markers()

    def end(self, timestamp: int) -> Iterator[Message | None]:
        """Send stale markers for all time series.

        Args:
            timestamp: In milliseconds since the epoch, later than that of the last collection.

        Yields:
            As ``messages`` does.
        """
        self._begin(timestamp)
        for key in list(self._caches):
            self._ended += self._caches.pop(key).entries
            yield None
        yield from self._write_stale_markers()

    def _begin(self, timestamp: int) -> None:
        self._writer.begin(timestamp)
        self.faults = self._encoder.begin(timestamp)

    def _drop_family(self, key: str) -> Steps:
        self._ended += self._caches.pop(key).entries
        while self._ended:
            self._end_some()
            yield None

    def _end_some(self) -> None:
        """End the time series of one batch of entries."""
        for entry in self._ended[-BATCH:]:
            self._active.mark_ended(label_sets_of(entry))
        del self._ended[-BATCH:]

    def _write_stale_markers(self) -> Steps:
        """Write stale markers for the time series that have ended, and yield the last message."""
        self._packer.family(None)
        while self._ended or self._active.has_ended:
            self._end_some()
            label_sets = self._active.pop_ended(BATCH)
            yield from self._packer.floats(label_sets, [STALE] * len(label_sets))
        yield from self._packer.rest()

    def _encode_family(self, key: str, family: MetricFamily) -> Steps:
        cache = self._caches.get(key)
        if cache is None:
            cache = self._caches[key] = FamilyCache(family.type)
        series = yield from _as_list(family.series)
        same = yield from cache.is_same(series)
        if not same:
            self._ended += yield from cache.arrange(series)
            while self._ended:
                self._end_some()
                yield None
        yield from self._encoder.encode(cache, family, series)


def _by_key(families: Iterable[MetricFamily]) -> dict[str, MetricFamily]:
    """Return families by name; to a name that repeats, null bytes are appended."""
    by_key: dict[str, MetricFamily] = {}
    for family in families:
        if family.series:
            key = family.name
            while key in by_key:
                key += "\0"
            by_key[key] = family
    return by_key


def _as_list(series: Sequence[Series]) -> Generator[None, None, Sequence[Series]]:
    """Return series as a list; those of a lazy sequence are created once, batch by batch."""
    if isinstance(series, (list, tuple)):
        return series
    found: list[Series] = []
    for start in range(0, len(series), BATCH):
        found += series[start : start + BATCH]
        yield
    return found
