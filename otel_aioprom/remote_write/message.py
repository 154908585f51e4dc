"""Base class of the message writers of both protocol versions, and the splitting of samples into messages.

A *label set* identifies one time series of the server: its name and labels, encoded as a writer needs them. It is
created once, when the series first appears.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from otel_aioprom._core.escaping import Escaping
from otel_aioprom._core.labels import encodable
from otel_aioprom._core.model import UNITLESS, MetricFamily
from otel_aioprom.remote_write.fields import timestamp_varint

_MAX_TIMESTAMP = 1 << 42
_TYPES = {
    "counter": 1,
    "gauge": 2,
    "info": 2,
    "stateset": 2,
    "histogram": 3,
    "gaugehistogram": 4,
    "summary": 5,
}


class Message(NamedTuple):
    """An encoded message, not compressed yet.

    Attributes:
        body: The protobuf message.
        samples: Number of float samples, stale markers included.
        histograms: Number of native histograms.
        exemplars: Number of exemplars.
    """

    body: bytes
    samples: int
    histograms: int
    exemplars: int


class EncodedExemplar(NamedTuple):
    """An exemplar in the form in which it is sent.

    Attributes:
        labels: Names and values, escaped and sorted.
        value: The observed value.
        timestamp: In milliseconds since the epoch.
    """

    labels: Sequence[tuple[str, str]]
    value: float
    timestamp: int


Steps = Generator[Message | None, None, None]
"""Yields full messages, and ``None`` between batches, so that the caller can yield to the event loop."""

L = TypeVar("L")
Exemplars = Sequence[EncodedExemplar]
ExemplarsByIndex = Mapping[int, Exemplars]
"""Exemplars by the index of their sample."""

NO_EXEMPLARS: ExemplarsByIndex = MappingProxyType({})


class Writer(ABC, Generic[L]):
    """Write messages, time series by time series.

    Attributes:
        escaping: Escaping of names that are not classic.
        starts: Whether the message has start timestamps.
        parts_per_label: Number of label parts that each label has.
        defers_exemplars: Whether exemplars of a native histogram are sent only after its first sample: with 1.0,
            Prometheus looks up the time series of an exemplar before it stores the histogram that creates it.
    """

    escaping: ClassVar[Escaping]
    starts: ClassVar[bool]
    parts_per_label: ClassVar[int]
    defers_exemplars: ClassVar[bool]

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._timestamp_field = b""
        self._timestamp = 0
        self._samples = self._histograms = self._exemplars = 0

    @property
    def size(self) -> int:
        """Samples and histograms in the current message."""
        return self._samples + self._histograms

    def begin(self, timestamp: int) -> None:
        """Start a collection; an unfinished message of an abandoned one is discarded.

        Args:
            timestamp: Timestamp of all samples, in milliseconds since the epoch.

        Raises:
            ValueError: The timestamp is not between 1970 and 2109.
        """
        if not 0 <= timestamp < _MAX_TIMESTAMP:
            raise ValueError(f"a timestamp must be between 1970 and 2109, not {timestamp} ms")
        self._clear()
        self._timestamp = timestamp
        # Cached heads contain the length of the sample, so that all timestamps must have as many bytes as those
        # of this century. Smaller ones are padded with zero bits, which decoders accept.
        self._timestamp_field = b"\x10" + timestamp_varint(timestamp)

    def _clear(self) -> None:
        self._parts = []
        self._samples = self._histograms = self._exemplars = 0

    def take(self) -> Message:
        """Return the message, and start the next one."""
        body = b"".join(self._body())
        message = Message(body, self._samples, self._histograms, self._exemplars)
        self._clear()
        self._next_message()
        return message

    def write_deferred(self) -> Iterable[None]:
        """Write the deferred time series at the end of the message, batch by batch; to be called before ``take``."""
        return ()

    def finish(self) -> None:
        """Finish the collection, and free what the next one does not need."""

    def _next_message(self) -> None:
        """Start the next message of the same collection."""

    def _body(self) -> Iterable[bytes]:
        return self._parts

    @abstractmethod
    def label_parts(self, names: Sequence[str], values: Sequence[str]) -> list[Any]:
        """Encode labels as parts of label sets: the first part of each label, then the second part of each."""

    @abstractmethod
    def label_set(self, parts: tuple[Any, ...]) -> L:
        """Join the parts of labels, which are sorted by name, into a label set."""

    @abstractmethod
    def family(self, family: MetricFamily | None) -> None:
        """Set the family of the time series that follow."""

    @abstractmethod
    def floats(
        self,
        label_sets: Sequence[L],
        values: Sequence[bytes],
        starts: Sequence[float | None] | None,
        exemplars: ExemplarsByIndex,
    ) -> None:
        """Add a float sample to each of some time series.

        Args:
            label_sets: The time series.
            values: Encoded values, eight bytes each.
            starts: Start timestamps in seconds since the epoch; ``None`` for types without.
            exemplars: Exemplars of some of them.
        """

    @abstractmethod
    def histogram(
        self, label_set: L, content: bytes, start: float | None, exemplars: Exemplars
    ) -> None:
        """Add a native histogram.

        Args:
            label_set: The time series.
            content: As ``native_content`` encodes it.
            start: Start timestamp in seconds since the epoch, if it is known.
            exemplars: Its exemplars, in the order of their timestamps.
        """


class MessagePacker:
    """Split the samples of collections into messages.

    Args:
        writer: Writes the messages.
        max_samples: Maximum number of samples and native histograms in each.
    """

    def __init__(self, writer: Writer[Any], max_samples: int) -> None:
        self._writer = writer
        self._max_samples = max_samples

    def family(self, family: MetricFamily | None) -> None:
        """Set the family of the time series that follow."""
        self._writer.family(family)

    def floats(
        self,
        label_sets: Sequence[Any],
        values: Sequence[bytes],
        starts: Sequence[float | None] | None = None,
        exemplars: ExemplarsByIndex = NO_EXEMPLARS,
    ) -> Steps:
        """Add a float sample to each of some time series; see ``Writer.floats``."""
        first = 0
        while first < len(label_sets):
            last = first + self._max_samples - self._writer.size
            here = {i - first: some for i, some in exemplars.items() if first <= i < last}
            began = None if starts is None else starts[first:last]
            self._writer.floats(label_sets[first:last], values[first:last], began, here)
            first = last
            yield from self._yield_full()

    def histogram(
        self, label_set: Any, content: bytes, start: float | None, exemplars: Exemplars
    ) -> Steps:
        """Add a native histogram; see ``Writer.histogram``."""
        self._writer.histogram(label_set, content, start, exemplars)
        yield from self._yield_full()

    def _yield_full(self) -> Steps:
        if self._writer.size < self._max_samples:
            yield None
        else:
            yield from self._yield_message()

    def _yield_message(self) -> Steps:
        yield from self._writer.write_deferred()
        yield self._writer.take()

    def rest(self) -> Steps:
        """Yield the last message, unless it is empty."""
        if self._writer.size:
            yield from self._yield_message()
        self._writer.finish()


def type_and_unit(family: MetricFamily) -> tuple[int, str]:
    """Return the type of a family as an enum value of the protocol, and its unit, empty for types without.

    Spec:
        E96, E99: info and stateset are gauges.
    """
    unit = "" if family.type in UNITLESS else encodable(family.unit)
    return _TYPES.get(family.type, 0), unit
