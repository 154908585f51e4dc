"""Protobuf responses parsed by the official protobuf runtime; the messages are those of E64.

``read_delimited`` is strict about what a reader may pass over, ``refuse`` about what makes a server throw
a response away.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, unknown_fields

Key = tuple[str, tuple[tuple[str, str], ...]]
"""Name and labels of a sample, without empty labels."""

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "double": _Field.TYPE_DOUBLE,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "sint32": _Field.TYPE_SINT32,
    "sint64": _Field.TYPE_SINT64,
    "string": _Field.TYPE_STRING,
    "uint32": _Field.TYPE_UINT32,
    "uint64": _Field.TYPE_UINT64,
}
_MESSAGES = {
    "Timestamp": "seconds:1:int64 nanos:2:int32",
    "LabelPair": "name:1:string value:2:string",
    "Exemplar": "label:1:LabelPair* value:2:double timestamp:3:Timestamp",
    "Gauge": "value:1:double",
    "Untyped": "value:1:double",
    "Counter": "value:1:double exemplar:2:Exemplar created_timestamp:3:Timestamp",
    "Quantile": "quantile:1:double value:2:double",
    "Summary": "sample_count:1:uint64 sample_sum:2:double quantile:3:Quantile* created_timestamp:4:Timestamp",
    "Bucket": "cumulative_count:1:uint64 upper_bound:2:double exemplar:3:Exemplar cumulative_count_float:4:double",
    "BucketSpan": "offset:1:sint32 length:2:uint32",
    "Histogram": "sample_count:1:uint64 sample_sum:2:double bucket:3:Bucket* sample_count_float:4:double schema:5:sint32 "
    "zero_threshold:6:double zero_count:7:uint64 zero_count_float:8:double negative_span:9:BucketSpan* "
    "negative_delta:10:sint64* negative_count:11:double* positive_span:12:BucketSpan* positive_delta:13:sint64* "
    "positive_count:14:double* created_timestamp:15:Timestamp exemplars:16:Exemplar*",
    "Metric": "label:1:LabelPair* gauge:2:Gauge counter:3:Counter summary:4:Summary untyped:5:Untyped "
    "timestamp_ms:6:int64 histogram:7:Histogram",
    "MetricFamily": "name:1:string help:2:string type:3:MetricType metric:4:Metric* unit:5:string",
}
TYPES = ("COUNTER", "GAUGE", "SUMMARY", "UNTYPED", "HISTOGRAM", "GAUGE_HISTOGRAM")
"""Names of the types, by number."""
_PACKAGE = "io.prometheus.client"
_ENUM = "MetricType"
_VALUES = ("counter", "gauge", "summary", "untyped", "histogram")
_LONGEST_VARINT = 10


def _make_family_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="io/prometheus/client/metrics.proto", package=_PACKAGE, syntax="proto2"
    )
    types = file.enum_type.add(name=_ENUM)
    for place, name in enumerate(TYPES):
        types.value.add(name=name, number=place)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for words in fields.split():
            _add_field(message, *words.split(":"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.MetricFamily"))


def _add_field(message: Any, name: str, number: str, kind: str) -> None:
    label = _Field.LABEL_REPEATED if kind.endswith("*") else _Field.LABEL_OPTIONAL
    kind = kind.removesuffix("*")
    made = message.field.add(name=name, number=int(number), label=label)
    if kind in _SCALARS:
        made.type = _SCALARS[kind]
    else:
        made.type = _Field.TYPE_ENUM if kind == _ENUM else _Field.TYPE_MESSAGE
        made.type_name = f".{_PACKAGE}.{kind}"


MetricFamily = _make_family_class()
"""The message class."""


def messages(body: bytes) -> Iterator[bytes]:
    """Split a response into messages.

    Yields:
        The bytes of each message, without its length.

    Raises:
        AssertionError: A length is cut off, longer than it need be, or beyond the end.
    """
    place = 0
    while place < len(body):
        length, shift, first = 0, 0, place
        while True:
            assert place < len(body), "a length is cut off"
            byte = body[place]
            place += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        assert place - first <= _LONGEST_VARINT, "a length has too many bytes"
        assert byte or place - first == 1, "a length is longer than it need be"
        assert place + length <= len(body), "a message is cut off"
        yield body[place : place + length]
        place += length


def read_delimited(body: bytes) -> list[Any]:
    """Read a response.

    Raises:
        AssertionError: A length is wrong, a field is none of the messages', comes twice or takes more bytes
            than it need, or a text is no UTF-8.
    """
    return [parse(MetricFamily, content) for content in messages(body)]


def parse(kind: Any, body: bytes) -> Any:
    """Parse a message.

    Args:
        kind: Its class.
        body: Its bytes.

    Raises:
        AssertionError: A field is unknown, repeated or not in its shortest form, or a string is no UTF-8.
    """
    message = kind()
    assert message.ParseFromString(body) == len(body)
    # The runtime's own encoding is shorter if a field is repeated.
    assert message.ByteSize() == len(body), "a field is repeated, or not in its shortest form"
    _check_message(message)
    return message


def _check_message(message: Any) -> None:
    assert not len(unknown_fields.UnknownFieldSet(message)), "a field is unknown"
    for field, value in message.ListFields():
        for one in value if field.is_repeated else (value,):
            if field.message_type is not None:
                _check_message(one)
            elif field.type == _Field.TYPE_STRING:
                assert isinstance(one, str), "a text is no UTF-8"
                one.encode()


def refuse(family: Any) -> None:
    """Check a message as a server that rejects the whole response (E65, E66, E71).

    Args:
        family: A message.

    Raises:
        AssertionError: It would.
    """
    kind = TYPES[family.type].lower()
    assert family.name, "a family has no name"
    assert family.HasField("type"), "without a type, it is a counter"
    assert family.metric, "a family is empty"
    kinds = {is_native(metric.histogram) for metric in family.metric}
    assert len(kinds) == 1, "histograms with native buckets and without are in one message"
    stem = family.name.removesuffix("_total") if kind == "counter" else family.name
    assert not family.unit or stem.endswith(f"_{family.unit}"), "the name has another unit"
    for metric in family.metric:
        names = [label.name for label in metric.label]
        assert len(set(names)) == len(names), "a label comes twice"
        assert "__name__" not in names, "a label has the name of the name"
        assert "" not in names, "a label has no name"
        assert [each for each in _VALUES if metric.HasField(each)] == [
            kind.removeprefix("gauge_")
        ], "a value of another type"
        assert kind != "gauge_histogram" or is_native(metric.histogram), "Prometheus 2 misreads it"
        assert kind != "summary" or metric.summary.HasField("sample_count"), "it would be zero"
        assert kind != "summary" or metric.summary.HasField("sample_sum"), "it would be zero"
        if kind in ("histogram", "gauge_histogram"):
            _refuse_histogram(metric.histogram)


def _refuse_histogram(histogram: Any) -> None:
    upto = [bucket.cumulative_count for bucket in histogram.bucket]
    bounds = [bucket.upper_bound for bucket in histogram.bucket]
    assert upto == sorted(upto), "buckets are not cumulative"
    assert bounds == sorted(set(bounds)), "bounds do not ascend"
    assert not upto or upto[-1] <= histogram.sample_count, "a bucket holds more than all"
    if not is_native(histogram):
        return
    assert -4 <= histogram.schema <= 8, "the schema makes queries fail"
    counts = list(buckets_of(histogram.positive_span, histogram.positive_delta).values())
    counts += buckets_of(histogram.negative_span, histogram.negative_delta).values()
    assert min(counts, default=0) >= 0, "a native bucket holds fewer than none"
    held = histogram.zero_count + sum(counts)
    whole = histogram.sample_sum == histogram.sample_sum
    assert held <= histogram.sample_count, "native buckets hold more than all"
    assert not whole or held == histogram.sample_count, "native buckets hold less than all"
    assert all(each.HasField("timestamp") for each in histogram.exemplars), "it would be dropped"


def is_native(histogram: Any) -> bool:
    """Return whether a server treats a histogram as a native one (E69)."""
    spans = len(histogram.positive_span) + len(histogram.negative_span)
    return bool(spans or histogram.zero_threshold > 0 or histogram.zero_count)


def buckets_of(spans: Any, deltas: Any) -> dict[int, int]:
    """Return index → count from spans and deltas (E74).

    Raises:
        AssertionError: They are not of one length, or spans overlap.
    """
    assert sum(span.length for span in spans) == len(deltas), "spans and deltas disagree"
    assert all(span.offset >= 0 for span in spans[1:]), "spans overlap"
    indexes, following = [], 0
    for span in spans:
        indexes += range(following + span.offset, following + span.offset + span.length)
        following += span.offset + span.length
    return dict(zip(indexes, accumulate(deltas)))


def seconds_of(timestamp: Any) -> float:
    """Return a timestamp in seconds since the epoch.

    Raises:
        AssertionError: The nanoseconds are no part of a second.
    """
    assert 0 <= timestamp.nanos < 1_000_000_000
    return float(timestamp.seconds + timestamp.nanos / 1e9)


def samples(family: Any) -> Iterator[tuple[Key, float]]:
    """Yield the samples that a server stores for a message, without native buckets."""
    for metric in family.metric:
        labels = {label.name: label.value for label in metric.label}
        kind = TYPES[family.type].lower()
        if kind == "gauge_histogram":
            continue
        value = getattr(metric, kind)
        if kind in ("counter", "gauge", "untyped"):
            bounds = {
                name: float(labels.pop(name)) for name in ("le", "quantile") if name in labels
            }
            yield key_of(family.name, labels, **bounds), value.value
            continue
        for bucket in value.bucket if kind == "histogram" else ():
            if bucket.upper_bound != float("inf"):
                bound = float(bucket.upper_bound)
                yield key_of(f"{family.name}_bucket", labels, le=bound), bucket.cumulative_count
        if kind == "histogram":
            yield key_of(f"{family.name}_bucket", labels, le=float("inf")), value.sample_count
        for quantile in value.quantile if kind == "summary" else ():
            yield key_of(family.name, labels, quantile=float(quantile.quantile)), quantile.value
        yield key_of(f"{family.name}_count", labels), value.sample_count
        if value.HasField("sample_sum"):
            yield key_of(f"{family.name}_sum", labels), value.sample_sum


def key_of(name: str, labels: dict[str, str], **bound: float) -> Key:
    """Return the identity of a sample; bounds and quantiles count as numbers (E10), the two zeros as one."""
    texts = {**labels, **{label: repr(value + 0.0) for label, value in bound.items()}}
    return name, tuple(sorted((label, text) for label, text in texts.items() if text))
