"""The text formatter: chunks and values."""

from __future__ import annotations

import re
import tracemalloc

import pytest

from oracles import all_kinds, family, number
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.collectors import Counter, Gauge, Histogram, Summary
from otel_aioprom.formats import IFormatter, TextFormatter


def chunks_of(*families: MetricFamily) -> list[bytes]:
    """All chunks; the metadata of a family is a chunk of its own."""
    return list(TextFormatter().encode(families))


def test_timestamps_are_off_by_default() -> None:
    """The argument is positional."""
    assert isinstance(TextFormatter(), IFormatter)
    assert not TextFormatter().timestamps
    assert not TextFormatter(False).timestamps
    assert TextFormatter(True).timestamps


def test_its_headers_are_a_content_type() -> None:
    """The same with and without timestamps."""
    headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}

    assert TextFormatter().get_headers() == TextFormatter(True).get_headers() == headers


def test_marshall_joins_all_chunks() -> None:
    """Of a registry, collected in this thread."""
    registry = all_kinds({"a": 1})
    formatter = TextFormatter()

    assert formatter.marshall(registry) == b"".join(formatter.encode(registry.gather().families))


def test_families_without_series_are_skipped() -> None:
    """Their metadata too."""
    assert chunks_of(MetricFamily("x", "gauge", "What.", "", ())) == []


def test_untyped_families_are_numbers() -> None:
    """A third-party source may return them."""
    assert b"".join(chunks_of(family("x", number(2), kind="untyped"))) == b"# TYPE x untyped\nx 2\n"


def test_values_are_read_lazily() -> None:
    """When their chunk is encoded, so that the first chunks are available early."""
    gauge = Gauge("g", "")
    gauge.set({}, 1)
    chunks = TextFormatter().encode([gauge.family()])
    gauge.set({}, 2)
    assert next(chunks) == b"# TYPE g gauge\n"
    gauge.set({}, 3)

    assert next(chunks) == b"g 3\n"


def test_a_histogram_without_a_sum_has_no_sum_line() -> None:
    """With labels and without."""
    histogram = Histogram("h", "", buckets=[1])
    histogram.labels().load([1, 2], None)
    histogram.labels({"a": "1"}).load([3, 4], None)
    histogram.labels({"a": "2"}).load([3, 4], 5)
    text = b"".join(chunks_of(histogram.family())).decode()

    assert [line for line in text.splitlines() if "sum" in line] == ['h_sum{a="2"} 5']
    assert "h_count 3\n" in text
    assert 'h_count{a="1"} 7\n' in text


def test_histograms_of_one_family_may_have_different_bounds() -> None:
    """Each series is encoded with its own."""
    one, two = Histogram("h", "", buckets=[1]), Histogram("h", "", buckets=[2, 3])
    one.observe({"a": 1}, 1)
    two.observe({"a": 2}, 2.5)
    both = MetricFamily("h", "histogram", "", "", [*one.family().series, *two.family().series])

    assert re.findall('le="(.*?)"', b"".join(chunks_of(both)).decode()) == [
        "1.0",
        "+Inf",
        "2.0",
        "3.0",
        "+Inf",
    ]


@pytest.mark.parametrize("labels", [{"a": "%s %d %%"}, {"a": "\0"}, {"a": "{}"}, {"a": '"% (x)s'}])
def test_labels_are_never_taken_for_a_template(labels: dict[str, str]) -> None:
    """They may have percent signs and control characters."""
    histogram, summary = Histogram("h", "", buckets=[1]), Summary("s", "")
    histogram.observe(labels, 1)
    summary.observe(labels, 1)
    value = labels["a"].replace('"', '\\"')
    lines = b"".join(chunks_of(histogram.family(), summary.family())).decode().split("\n")

    assert f'h_bucket{{a="{value}",le="1.0"}} 1' in lines
    assert f's_sum{{a="{value}"}} 1' in lines


def test_every_sample_has_the_same_timestamp() -> None:
    """For all types of metrics."""
    text = TextFormatter(True).marshall(all_kinds({"a": 1})).decode()
    lines = [line for line in text.splitlines() if not line.startswith("#")]

    assert len(lines) == 13
    assert len({line.split(" ")[2] for line in lines}) == 1


@pytest.mark.parametrize("kind", [Gauge, Histogram, Summary])
def test_chunks_are_small_and_complete(kind: type[Gauge | Histogram | Summary]) -> None:
    """Ten thousand series are many chunks of some tens of kilobytes at most."""
    collector = kind("x", "")
    for number_ in range(10_000):
        collector.labels({"n": number_})
    chunks = chunks_of(collector.family())
    found = re.findall(r'^x(?:_count)?\{n="(\d+)"\} ', b"".join(chunks).decode(), re.MULTILINE)

    assert len(set(found)) == 10_000
    assert len(chunks) > 10
    assert max(map(len, chunks)) < 150_000


def test_huge_labels_make_small_batches() -> None:
    """One label value of a megabyte per chunk, after the first few."""
    megabyte = "x" * 1_000_000
    series = [number(1, {"a": megabyte, "n": str(index)}) for index in range(16)]
    sizes = [len(chunk) for chunk in TextFormatter().encode([family("g", *series)])][1:]

    assert sum(size // 1_000_000 for size in sizes) == 16
    assert max(sizes[:1]) < 5_000_000
    assert all(size < 1_100_000 for size in sizes[1:])


def test_batches_grow_again_after_a_huge_label() -> None:
    """One unusual series does not make the others slow."""
    series = [number(1, {"n": str(index)}) for index in range(4000)]
    series[0] = number(1, {"n": "x" * 1_000_000})
    chunks = list(TextFormatter().encode([family("g", *series)]))

    assert len(chunks) < 1000


def test_a_chunk_needs_the_memory_of_a_chunk() -> None:
    """Not of the response."""
    counter = Counter("c_total", "")
    for index in range(20_000):
        counter.inc({"n": index, "pad": "x" * 100})
    family_ = counter.family()
    tracemalloc.start()
    total = sum(len(chunk) for chunk in TextFormatter().encode([family_]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < total / 2
