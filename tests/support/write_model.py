"""Remote write messages parsed by the official protobuf runtime, and a strict receiver that stores them.

The messages are those of E96 and E97. What a real server refuses, or drops without a word, is an
``AssertionError`` here.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from client_model import buckets_of, parse
from otel_aioprom.remote_write.fields import STALE
from otel_aioprom.remote_write.message import Message

Labels = tuple[tuple[str, str], ...]

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "double": _Field.TYPE_DOUBLE,
    "int64": _Field.TYPE_INT64,
    "sint32": _Field.TYPE_SINT32,
    "sint64": _Field.TYPE_SINT64,
    "string": _Field.TYPE_STRING,
    "uint32": _Field.TYPE_UINT32,
    "uint64": _Field.TYPE_UINT64,
}
_HISTOGRAM = (
    "count_int:1:uint64:count count_float:2:double:count sum:3:double schema:4:sint32 zero_threshold:5:double "
    "zero_count_int:6:uint64:zero_count zero_count_float:7:double:zero_count negative_spans:8:BucketSpan* "
    "negative_deltas:9:sint64* negative_counts:10:double* positive_spans:11:BucketSpan* positive_deltas:12:sint64* "
    "positive_counts:13:double* reset_hint:14:uint32 timestamp:15:int64 custom_values:16:double*"
)
_SPAN = "offset:1:sint32 length:2:uint32"
_MESSAGES_1 = {
    "Label": "name:1:string value:2:string",
    "Sample": "value:1:double timestamp:2:int64",
    "Exemplar": "labels:1:Label* value:2:double timestamp:3:int64",
    "MetricMetadata": "type:1:uint32 metric_family_name:2:string help:4:string unit:5:string",
    "BucketSpan": _SPAN,
    "Histogram": _HISTOGRAM,
    "TimeSeries": "labels:1:Label* samples:2:Sample* exemplars:3:Exemplar* histograms:4:Histogram*",
    "WriteRequest": "timeseries:1:TimeSeries* metadata:3:MetricMetadata*",
}
_MESSAGES_2 = {
    "Sample": "value:1:double timestamp:2:int64 start_timestamp:3:int64",
    "Exemplar": "labels_refs:1:uint32* value:2:double timestamp:3:int64",
    "Metadata": "type:1:uint32 help_ref:3:uint32 unit_ref:4:uint32",
    "BucketSpan": _SPAN,
    "Histogram": f"{_HISTOGRAM} start_timestamp:17:int64",
    "TimeSeries": "labels_refs:1:uint32* samples:2:Sample* histograms:3:Histogram* exemplars:4:Exemplar* "
    "metadata:5:Metadata",
    "Request": "symbols:4:string* timeseries:5:TimeSeries*",
}
TYPES = ("unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset")  # fmt: skip
"""Names of the types in metadata, by number."""
_EXEMPLAR_LIMIT = 128
_CLASSIC = {"metric": re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*"), "label": re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")}  # fmt: skip


def _make_class(package: str, messages: dict[str, str]) -> Any:
    """Return the class of the last of some messages."""
    path = package.replace(".", "/")
    # Not proto3, in which it could not be seen whether a field of the value 0 was there.
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{path}/types.proto", package=package, syntax="proto2"
    )
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for words in fields.split():
            _add_field(package, message, *words.split(":"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))


def _add_field(
    package: str, message: Any, name: str, number: str, kind: str, choice: str = ""
) -> None:
    label = _Field.LABEL_REPEATED if kind.endswith("*") else _Field.LABEL_OPTIONAL
    kind = kind.removesuffix("*")
    made = message.field.add(name=name, number=int(number), label=label)
    if kind in _SCALARS:
        made.type = _SCALARS[kind]
        if label == _Field.LABEL_REPEATED and kind != "string":
            made.options.packed = True
    else:
        made.type, made.type_name = _Field.TYPE_MESSAGE, f".{package}.{kind}"
    if choice:
        names = [each.name for each in message.oneof_decl]
        if choice not in names:
            message.oneof_decl.add(name=choice)
        made.oneof_index = [each.name for each in message.oneof_decl].index(choice)


WriteRequest = _make_class("prometheus", _MESSAGES_1)
"""The message of version 1.0."""
Request = _make_class("io.prometheus.write.v2", _MESSAGES_2)
"""The message of version 2.0."""


class Point(NamedTuple):
    """The samples and metadata of one series in a message.

    Attributes:
        labels: Names and values, in their order.
        value: Of its sample, or ``None``.
        histogram: The native one, or ``None``.
        moment: In milliseconds.
        start: When counting began, in milliseconds; 0 if that is unknown.
        exemplars: Labels, value and moment of each.
        metadata: Type, help and unit, of version 2.0.
    """

    labels: Labels
    value: float | None
    histogram: Any
    moment: int
    start: int
    exemplars: list[tuple[Labels, float, int]]
    metadata: tuple[str, str, str]

    @property
    def is_stale(self) -> bool:
        """Whether it is a stale marker."""
        return self.value is not None and struct.pack("<d", self.value) == STALE


def read_points(version: str, body: bytes) -> list[Point]:
    """Read the series of a message.

    Raises:
        AssertionError: A server would refuse or drop something of it.
    """
    points = _read_1(body) if version == "1.0" else _read_2(body)
    for point in points:
        _check_labels(point.labels)
        if version == "1.0":
            _check_classic(point.labels)
        for labels, _, moment in point.exemplars:
            assert sum(len(name) + len(value) for name, value in labels) <= _EXEMPLAR_LIMIT
            assert [name for name, _ in labels] == sorted({name for name, _ in labels})
            assert moment, "an exemplar has no timestamp"
        if point.histogram is not None:
            _check_histogram(point.histogram)
    return points


def _read_1(body: bytes) -> list[Point]:
    request = parse(WriteRequest, body)
    points = []
    for series in request.timeseries:
        exemplars = [(_pairs(each.labels), each.value, each.timestamp) for each in series.exemplars]
        points.append(_point(series, _pairs(series.labels), exemplars, ("unknown", "", "")))
    return points


def _read_2(body: bytes) -> list[Point]:
    request = parse(Request, body)
    symbols = list(request.symbols)
    assert symbols[0] == "", "the first text is not the empty one"
    assert len(set(symbols)) == len(symbols), "a text comes twice"
    used = {0}

    def pairs(refs: Iterable[int]) -> Labels:
        every = list(refs)
        used.update(every)
        assert len(every) % 2 == 0, "a name has no value"
        return tuple(
            (symbols[name], symbols[value]) for name, value in zip(every[::2], every[1::2])
        )

    points = []
    for series in request.timeseries:
        exemplars = [
            (pairs(each.labels_refs), each.value, each.timestamp) for each in series.exemplars
        ]
        told = series.metadata
        used.update((told.help_ref, told.unit_ref))
        metadata = (TYPES[told.type], symbols[told.help_ref], symbols[told.unit_ref])
        points.append(_point(series, pairs(series.labels_refs), exemplars, metadata))
    assert used == set(range(len(symbols))), "a text is of no use"
    return points


def _pairs(labels: Any) -> Labels:
    return tuple((label.name, label.value) for label in labels)


def _point(series: Any, labels: Labels, exemplars: Any, metadata: tuple[str, str, str]) -> Point:
    found = [*series.samples, *series.histograms]
    assert len(found) == 1, "a series has one sample, or one histogram"
    (one,) = found
    start = getattr(one, "start_timestamp", 0)
    assert start < one.timestamp, "counting began after the sample"
    value, histogram = (one.value, None) if series.samples else (None, one)
    return Point(labels, value, histogram, one.timestamp, start, exemplars, metadata)


def _check_labels(labels: Labels) -> None:
    names = [name for name, _ in labels]
    assert "__name__" in names, "a series has no name"
    assert [name.encode() for name in names] == sorted({name.encode() for name in names})
    assert all(name and value for name, value in labels), "a name or a value is empty"


def _check_classic(labels: Labels) -> None:
    for name, value in labels:
        kind, text = ("metric", value) if name == "__name__" else ("label", name)
        assert _CLASSIC[kind].fullmatch(text), f"{text!r} is no classic name"


def _check_histogram(histogram: Any) -> None:
    assert histogram.WhichOneof("count") == "count_int"
    assert histogram.WhichOneof("zero_count") == "zero_count_int"
    assert -4 <= histogram.schema <= 8
    assert histogram.zero_threshold >= 0
    counts = [*native_buckets(histogram, "positive").values()]
    counts += native_buckets(histogram, "negative").values()
    assert min(counts, default=0) >= 0, "a bucket holds fewer than none"
    held = histogram.zero_count_int + sum(counts)
    whole = histogram.sum == histogram.sum
    assert held <= histogram.count_int, "buckets hold more than all"
    assert not whole or held == histogram.count_int, "buckets hold less than all"


def native_buckets(histogram: Any, sign: str) -> dict[int, int]:
    """Return index → count of the buckets of a sign, ``positive`` or ``negative``."""
    return buckets_of(getattr(histogram, f"{sign}_spans"), getattr(histogram, f"{sign}_deltas"))


class Receiver:
    """Stores messages as a strict server.

    Args:
        version: Of the protocol.
        max_samples: What no message may exceed.

    Attributes:
        series: Labels → all points, in the order of time.
        metadata: Name of a family → type, help, unit: of version 1.0.
    """

    def __init__(self, version: str, max_samples: int = 2000) -> None:
        self.version = version
        self.series: dict[Labels, list[Point]] = {}
        self.metadata: dict[str, tuple[str, str, str]] = {}
        self._max_samples = max_samples

    def take(self, messages: Iterable[Message | None]) -> list[Point]:
        """Store messages.

        Returns:
            Their points.

        Raises:
            AssertionError: A sample is not newer than the last one of its series, an exemplar is older, a message
                is too large or has nothing in it, or its counts are wrong.
        """
        every = []
        for message in messages:
            if message is not None:
                points = read_points(self.version, message.body)
                self._check(message, points)
                for point in points:
                    self._store(point)
                every += points
                if self.version == "1.0":
                    self._store_metadata(message.body)
        return every

    def _check(self, message: Message, points: list[Point]) -> None:
        assert message.samples == sum(point.value is not None for point in points)
        assert message.histograms == sum(point.histogram is not None for point in points)
        assert message.exemplars == sum(len(point.exemplars) for point in points)
        assert 0 < message.samples + message.histograms <= self._max_samples

    def _store(self, point: Point) -> None:
        before = self.series.setdefault(point.labels, [])
        assert not before or before[-1].moment < point.moment, "a sample is not newer"
        assert before or not point.is_stale, "a series ends that never was"
        assert not point.is_stale or not before[-1].is_stale, "a series ends twice"
        ages = [age for each in (*before, point) for _, _, age in each.exemplars]
        assert ages == sorted(ages), "an exemplar is older than one before"
        before.append(point)

    def _store_metadata(self, body: bytes) -> None:
        for told in WriteRequest.FromString(body).metadata:
            kind = (TYPES[told.type], told.help, told.unit)
            self.metadata[told.metric_family_name] = kind

    def alive(self) -> dict[Labels, Point]:
        """Return the last point of each series that has not ended."""
        return {
            labels: points[-1] for labels, points in self.series.items() if not points[-1].is_stale
        }
