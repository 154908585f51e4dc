"""The official protobuf runtime reads what the library writes; the messages are those of E64."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_TYPES = {
    "double": descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE,
    "int32": descriptor_pb2.FieldDescriptorProto.TYPE_INT32,
    "int64": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    "sint32": descriptor_pb2.FieldDescriptorProto.TYPE_SINT32,
    "sint64": descriptor_pb2.FieldDescriptorProto.TYPE_SINT64,
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "uint32": descriptor_pb2.FieldDescriptorProto.TYPE_UINT32,
    "uint64": descriptor_pb2.FieldDescriptorProto.TYPE_UINT64,
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
    "MetricFamily": "name:1:string help:2:string type:3:int32 metric:4:Metric* unit:5:string",
}
TYPES = ("COUNTER", "GAUGE", "SUMMARY", "UNTYPED", "HISTOGRAM", "GAUGE_HISTOGRAM")
_PACKAGE = "io.prometheus.client"


def _make_family_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="io/prometheus/client/metrics.proto", package=_PACKAGE, syntax="proto2"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for words in fields.split():
            field_name, number, kind = words.split(":")
            repeated = kind.endswith("*")
            made = message.field.add(
                name=field_name, number=int(number), label=3 if repeated else 1
            )
            kind = kind.rstrip("*")
            if kind in _TYPES:
                made.type = _TYPES[kind]
            else:
                made.type = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
                made.type_name = f".{_PACKAGE}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.MetricFamily"))


MetricFamily = _make_family_class()
"""The message class."""


def read_delimited(body: bytes) -> list[Any]:
    """Read a response.

    Raises:
        AssertionError: A length is wrong, or a field is none of the messages'.
    """
    found, place = [], 0
    while place < len(body):
        length, shift = 0, 0
        while True:
            byte = body[place]
            place += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        assert place + length <= len(body), "a message is cut off"
        family = MetricFamily()
        family.ParseFromString(body[place : place + length])
        # What was not understood is kept but not written in order: the same bytes mean that all of it was.
        assert family.ByteSize() == length
        _refuse_unknown(family)
        found.append(family)
        place += length
    return found


def _refuse_unknown(message: Any) -> None:
    known = type(message)()
    known.CopyFrom(message)
    known.DiscardUnknownFields()
    assert known.ByteSize() == message.ByteSize(), "a field is unknown"
