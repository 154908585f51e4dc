"""Encoded messages taken apart: halves, and messages without native histograms, as the official runtime reads them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import cramjam
import pytest

from otel_aioprom.collectors import Collector, Gauge, Histogram
from otel_aioprom.formats.protobuf_wire import field
from otel_aioprom.remote_write.encoder import WriteEncoder
from otel_aioprom.remote_write.sending.parts import divide, without_native
from otel_aioprom.remote_write.sending.protocol import compress
from otel_aioprom.remote_write.sending.queue import QueuedMessage
from write_model import Request, WriteRequest

MOMENT = 1_800_000_000_000
VERSIONS = ("1.0", "2.0")


def encoded(version: Any, *collectors: Collector[Any]) -> QueuedMessage:
    """The message of a collection."""
    encoder = WriteEncoder(version, {"job": "shop", "zone": "z"})
    families = [each.family() for each in collectors]
    (message,) = [each for each in encoder.messages(families, MOMENT) if each is not None]
    count = message.samples + message.histograms
    return QueuedMessage(version, count, compress(message.body), MOMENT)


def read(message: QueuedMessage) -> Any:
    """The message as the official runtime reads it."""
    kind = WriteRequest if message.version == "1.0" else Request
    return kind.FromString(bytes(cramjam.snappy.decompress_raw(message.body)))


def series(message: QueuedMessage) -> dict[tuple[tuple[str, str], ...], Any]:
    """Labels → time series."""
    request = read(message)
    found: dict[tuple[tuple[str, str], ...], Any] = {}
    for each in request.timeseries:
        if message.version == "1.0":
            labels = tuple((label.name, label.value) for label in each.labels)
        else:
            texts: Sequence[str] = [request.symbols[ref] for ref in each.labels_refs]
            labels = tuple(zip(texts[::2], texts[1::2]))
        assert labels not in found, "a time series comes twice"
        assert [name for name, _ in labels] == sorted({name for name, _ in labels})
        found[labels] = each
    return found


def shown(message: QueuedMessage) -> dict[str, float]:
    """Name, or name and bound → value, of the samples; all must have the labels and the timestamp of the collection."""
    found = {}
    for labels, each in series(message).items():
        own = dict(labels)
        assert (own.pop("job"), own.pop("zone")) == ("shop", "z")
        (sample,) = each.samples
        assert sample.timestamp == MOMENT
        name, bound = own.pop("__name__"), own.pop("le", None)
        found[name if bound is None else f"{name}/{bound}"] = sample.value
    return found


def gauge(count: int) -> Gauge:
    """A gauge with that many series, each with its number as value."""
    made = Gauge("g", "Level.")
    for place in range(count):
        made.set({"place": place}, place)
    return made


def native(name: str = "sizes", **options: Any) -> Histogram:
    """A native histogram."""
    made = Histogram(name, "Sizes.", **{"buckets": None, "native_bucket_factor": 1.1, **options})
    for value in (0.5, 2, 7):
        made.observe({}, value, exemplar={"trace_id": f"t{value}"})
    return made


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("count", [2, 3, 128, 1001])
def test_halves_are_whole_messages(version: str, count: int) -> None:
    """Together they hold what there was, in order, with the same timestamp, and with metadata or symbols."""
    whole = encoded(version, gauge(count), native())
    halves = divide(whole)
    found = [list(series(half).items()) for half in halves]

    assert [half.samples for half in halves] == [len(each) for each in found]
    assert sum(half.samples for half in halves) == whole.samples == count + 1
    assert [labels for each in found for labels, _ in each] == list(series(whole))
    assert {half.timestamp for half in halves} == {MOMENT}
    if version == "1.0":
        assert [list(read(half).metadata) for half in halves] == [list(read(whole).metadata)] * 2


@pytest.mark.parametrize("version", VERSIONS)
def test_a_single_sample_cannot_be_divided(version: str) -> None:
    """Whoever refuses it refuses it for itself."""
    assert divide(encoded(version, gauge(1))) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_a_native_histogram_becomes_count_and_sum(version: str) -> None:
    """As the encoder writes it without native histograms, so that the series goes on; all others stay as they are."""
    message = encoded(version, gauge(2), native())
    rewritten = without_native(message)
    assert rewritten is not None

    assert rewritten.replaced == 1
    assert rewritten.message.samples == 5
    found = shown(rewritten.message)
    assert found == {"g": 1, "sizes_bucket/+Inf": 3, "sizes_sum": 9.5, "sizes_count": 3}
    encoder = WriteEncoder(version, {"job": "shop", "zone": "z"}, native_histograms=False)  # type: ignore[arg-type]
    (classic,) = [each for each in encoder.messages([native().family()], MOMENT) if each]
    assert set(series(message._replace(body=compress(classic.body)))) == {
        labels for labels in series(rewritten.message) if ("__name__", "g") not in labels
    }
    if version == "2.0":
        starts = {each.samples[0].start_timestamp for each in series(rewritten.message).values()}
        assert len(starts) == 2  # 0 of the gauge, and that of the histogram
        types = {each.metadata.type for each in series(rewritten.message).values()}
        assert types == {2, 3}


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_classic_too_comes_once(version: str) -> None:
    """Its classic part has count and sum already."""
    both = native("both", buckets=[1, 5])
    rewritten = without_native(encoded(version, both))
    assert rewritten is not None

    assert shown(rewritten.message) == {
        "both_bucket/1.0": 1,
        "both_bucket/5.0": 2,
        "both_bucket/+Inf": 3,
        "both_sum": 9.5,
        "both_count": 3,
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_without_native_histograms_there_is_nothing_to_replace(version: str) -> None:
    """The message stays as it is."""
    assert without_native(encoded(version, gauge(3))) is None


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "body",
    [b"torn", b"\xff\x06\x00\x00sNaPpY", *map(compress, (b"\x0a", b"\x0a\x05ab", b"\x0b", b"\x09\0"))],
)  # fmt: skip
def test_a_damaged_message_is_a_value_error(version: str, body: bytes) -> None:
    """It may come from a file."""
    message = QueuedMessage(version, 5, body)
    for function in (divide, without_native):
        with pytest.raises(ValueError, match="a message is damaged"):
            function(message)


NATIVE = {"1.0": b"\x22", "2.0": b"\x1a"}
SERIES = {"1.0": b"\x0a", "2.0": b"\x2a"}
PARTS = {
    "no timestamp": b"\x08\x01",
    "no count": b"\x78\x01",
    "a count of another type": b"\x09" + bytes(8) + b"\x78\x01",
    "no name": b"\x08\x01\x78\x01",
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_a_native_histogram_that_lacks_something_is_a_value_error(
    version: str, part: bytes
) -> None:
    """Anything else would be tried for ever, and hold up all other messages."""
    body = field(SERIES[version], field(NATIVE[version], part))
    with pytest.raises(ValueError, match="a message is damaged"):
        without_native(QueuedMessage(version, 1, compress(body)))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("version", VERSIONS)
def test_whatever_a_file_holds_is_no_other_error(version: str, seed: int) -> None:
    """Messages with wrong bytes, and cut ones."""
    message = encoded(version, gauge(2), native())
    body = bytes(cramjam.snappy.decompress_raw(message.body))
    draw = random.Random(seed)  # noqa: S311 - no secret
    for _ in range(300):
        damaged = bytearray(body[: draw.randrange(len(body)) if draw.random() < 0.3 else len(body)])
        for _ in range(min(len(damaged), 2)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        for function in (divide, without_native):
            with suppress(ValueError):
                function(message._replace(body=compress(bytes(damaged))))
