"""Messages of remote write 2.0: ``io.prometheus.write.v2.Request``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain

from otel_aioprom._core.labels import encodable
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.formats.protobuf_wire import double, field, varint
from otel_aioprom.remote_write.fields import SMALL, milliseconds, timestamp_varint
from otel_aioprom.remote_write.message import (
    EncodedExemplar,
    Exemplars,
    ExemplarsByIndex,
    Writer,
    type_and_unit,
)
from otel_aioprom.remote_write.symbols import CachedBatch, MessageCache

_TIME_SERIES = b"\x2a"
_DEFERRED_BATCH = 64
_SMALL = len(SMALL)
_RECENT = 1e8  # seconds since the epoch; later timestamps need six bytes
_OMITTED = (b"", b"", b"", b"")
_NO_METADATA = (0, "", "")

LabelSet = tuple[str, ...]


class Writer2(Writer[LabelSet]):
    """Write messages of version 2.0.

    A label set is a tuple of strings: name and value of each label. Their references depend on the message, so that
    a cache of each message is kept for the next collection.

    Time series with exemplars are deferred to the end of a message: the labels of exemplars are new each time, and
    must not change the references of others.

    Spec:
        E97, E98.
    """

    escaping = "allow-utf-8"
    starts = True
    parts_per_label = 2
    defers_exemplars = False

    def __init__(self) -> None:
        super().__init__()
        self._caches: list[MessageCache] = []
        self._cache = MessageCache()
        self._message_index = 0
        self._metadata: tuple[int, str, str] = _NO_METADATA
        self._deferred: list[Callable[[], bytes]] = []

    def begin(self, timestamp: int) -> None:
        """Start a collection; see ``Writer.begin``."""
        if timestamp < self._timestamp:  # cached start timestamps may be later now
            self._caches.clear()
        super().begin(timestamp)
        self._message_index = 0
        for cache in self._caches:
            cache.rewind()
        self._select_cache()

    def _select_cache(self) -> None:
        """Select the cache of the next message, or create it."""
        if self._message_index == len(self._caches):
            self._caches.append(MessageCache())
        self._cache = self._caches[self._message_index]

    def _clear(self) -> None:
        super()._clear()
        self._deferred = []

    def write_deferred(self) -> Iterator[None]:
        """Write the time series with exemplars, in batches."""
        self._cache.trim()
        deferred, self._deferred = self._deferred, []
        for start in range(0, len(deferred), _DEFERRED_BATCH):
            self._parts += [write() for write in deferred[start : start + _DEFERRED_BATCH]]
            yield

    def _body(self) -> Iterable[bytes]:
        return chain(self._cache.symbols.fields, self._parts)

    def _next_message(self) -> None:
        self._cache.rewind()
        self._message_index += 1
        self._select_cache()

    def finish(self) -> None:
        """Drop caches of messages that are not needed any more."""
        del self._caches[self._message_index :]

    def label_parts(self, names: Sequence[str], values: Sequence[str]) -> list[str]:
        """Return names, then values, without lone surrogates."""
        parts = [*names, *values]
        return parts if "".join(parts).isascii() else list(map(encodable, parts))

    def label_set(self, parts: LabelSet) -> LabelSet:
        """Return names and values."""
        return parts

    def family(self, family: MetricFamily | None) -> None:
        """Set the metadata of the time series that follow."""
        self._metadata = _NO_METADATA
        if family is not None:
            kind, unit = type_and_unit(family)
            self._metadata = (kind, encodable(family.doc), unit)

    def _metadata_field(self) -> bytes:
        kind, doc, unit = self._metadata
        content = b"\x08" + varint(kind) if kind else b""
        content += b"\x18" + self._cache.symbols[doc] if doc else b""
        content += b"\x20" + self._cache.symbols[unit] if unit else b""
        return field(b"\x2a", content) if content else b""

    def floats(
        self,
        label_sets: Sequence[LabelSet],
        values: Sequence[bytes],
        starts: Sequence[float | None] | None,
        exemplars: ExemplarsByIndex,
    ) -> None:
        """Add samples; see ``Writer.floats``."""
        key = (self._metadata, label_sets, starts)
        batch = self._cache.reuse(key) or self._write_batch(key, label_sets, starts)
        count = len(label_sets)
        parts = [self._timestamp_field] * (4 * count)
        parts[::4] = batch.heads
        parts[1::4] = values
        parts[3::4] = batch.tails
        for i, some in exemplars.items():
            start = None if starts is None else starts[i]
            parts[4 * i : 4 * i + 4] = _OMITTED
            self._exemplars += len(some)
            self._deferred.append(
                partial(self._time_series, label_sets[i], values[i], start, self._metadata, some)
            )
        self._parts.append(b"".join(parts))
        self._samples += count

    def _write_batch(
        self,
        key: tuple[object, ...],
        label_sets: Sequence[LabelSet],
        starts: Sequence[float | None] | None,
    ) -> CachedBatch:
        """Encode the bytes around values and timestamps, and cache them."""
        references = self._references(label_sets)
        metadata = self._metadata_field()
        tails, reusable = [metadata] * len(label_sets), True
        if starts is not None:
            began = self._starts(starts)
            tails = [start + metadata for start in began]
            # A start timestamp that is not before this collection may be before the next one.
            reusable = b"" not in began or not any(map(_is_omitted, starts, began))
            heads = list(map(self._head, references, map(len, began), map(len, tails)))
        else:
            heads = [self._head(each, 0, len(metadata)) for each in references]
        return self._cache.add(key, heads, tails, reusable)

    def _references(self, label_sets: Iterable[LabelSet]) -> list[bytes]:
        reference = self._cache.symbols.__getitem__
        return [b"".join(map(reference, label_set)) for label_set in label_sets]

    def _head(self, references: bytes, start: int, tail: int) -> bytes:
        """Encode all bytes before a value.

        Args:
            references: References of all labels.
            start: Number of bytes of the start timestamp.
            tail: Number of bytes after the timestamp, with those of the start timestamp.
        """
        sample = 9 + len(self._timestamp_field)  # the tag of the value, the value and the timestamp
        width = len(references)
        labels = (SMALL[width] if width < _SMALL else varint(width)) + references
        length = 3 + len(labels) + sample + tail
        before = SMALL[length] if length < _SMALL else varint(length)
        return b"\x2a%b\x0a%b\x12%c\x09" % (before, labels, sample + start)

    def _starts(self, starts: Sequence[float | None]) -> list[bytes]:
        """Encode many start timestamps, as ``_start``, but faster for the usual ones."""
        last = (self._timestamp - 1) / 1000
        return [
            b"\x18" + timestamp_varint(round(seconds * 1000))
            if seconds is not None and _RECENT < seconds < last
            else self._start(seconds)
            for seconds in starts
        ]

    def _start(self, seconds: float | None, tag: bytes = b"\x18") -> bytes:
        """Encode a start timestamp, unless it is unknown, or not before the sample's."""
        timestamp = milliseconds(seconds)
        return tag + varint(timestamp) if timestamp and timestamp < self._timestamp else b""

    def _time_series(
        self,
        label_set: LabelSet,
        value: bytes,
        start: float | None,
        metadata: tuple[int, str, str],
        exemplars: Exemplars,
    ) -> bytes:
        """Encode a float sample with exemplars."""
        (references,) = self._references([label_set])
        self._metadata, before = metadata, self._metadata
        began = self._start(start)
        tail = began + b"".join(map(self._exemplar, exemplars)) + self._metadata_field()
        self._metadata = before
        return self._head(references, len(began), len(tail)) + value + self._timestamp_field + tail

    def histogram(
        self, label_set: LabelSet, content: bytes, start: float | None, exemplars: Exemplars
    ) -> None:
        """Add a native histogram; see ``Writer.histogram``."""
        key = (self._metadata, label_set)
        batch = self._cache.reuse(key)
        if batch is None:
            labels = field(b"\x0a", *self._references([label_set]))
            batch = self._cache.add(key, [labels], [self._metadata_field()], True)
        times = b"\x78" + self._timestamp_field[1:] + self._start(start, b"\x88\x01")
        message = batch.heads[0] + field(b"\x1a", content + times)
        if exemplars:
            self._exemplars += len(exemplars)
            self._deferred.append(partial(self._with_exemplars, message, exemplars, batch.tails[0]))
        else:
            self._parts.append(field(_TIME_SERIES, message + batch.tails[0]))
        self._histograms += 1

    def _with_exemplars(self, message: bytes, exemplars: Exemplars, metadata: bytes) -> bytes:
        return field(_TIME_SERIES, message + b"".join(map(self._exemplar, exemplars)) + metadata)

    def _exemplar(self, one: EncodedExemplar) -> bytes:
        """Encode an exemplar."""
        parts = [encodable(part) for part in chain.from_iterable(one.labels)]
        labels = field(b"\x0a", *self._references([tuple(parts)])) if parts else b""
        content = labels + b"\x11" + double(one.value) + b"\x18" + varint(one.timestamp)
        return field(b"\x22", content)


def _is_omitted(seconds: float | None, start: bytes) -> bool:
    """Return whether a start timestamp is known, but was not encoded."""
    return seconds is not None and not start
