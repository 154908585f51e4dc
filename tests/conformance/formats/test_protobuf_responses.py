"""Whole protobuf responses: escaping, timestamps, many series, and concurrent changes."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from client_model import messages, read_delimited, refuse, seconds_of
from format_families import counter, histogram, read, summary, write
from oracles import CounterSeries, all_kinds, family, number
from otel_aioprom._core.escaping import (
    ESCAPING_SCHEMES,
    Escaping,
    escape_label_name,
    escape_metric_name,
)
from otel_aioprom._core.model import Exemplar
from otel_aioprom._core.native_histogram import NativeBuckets
from otel_aioprom.collectors import Counter
from otel_aioprom.formats import BinaryFormatter, text_lines
from otel_aioprom.negotiator import negotiate
from otel_aioprom.registry import CollectorRegistry

ACCEPT = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)
MARK = Exemplar((("trace.id", "a"),), 1.0, 5.0)


@pytest.mark.parametrize("asked", [False, True], ids=["by default", "asked"])
@pytest.mark.parametrize("scheme", ESCAPING_SCHEMES)
def test_e45_e64_names_are_escaped(scheme: Escaping, asked: bool) -> None:
    """Of metrics, labels and exemplars, by the client's or the option's scheme; nothing else."""
    accept, option = (f"{ACCEPT};escaping={scheme}", "underscores") if asked else (ACCEPT, scheme)
    formatter = negotiate([accept], protobuf_escaping=option)()  # type: ignore[arg-type]
    one = counter(1, {"a.b": "c.d", "e:f": "g"}, exemplar=MARK)
    ready, _ = formatter.prepare([replace(family("my.c_total", one, kind="counter", doc="h.h"), utf8=True)])  # fmt: skip
    (made,) = read_delimited(b"".join(formatter.encode(ready)))

    assert isinstance(formatter, BinaryFormatter)
    assert formatter.get_headers()["Content-Type"].endswith(f"; escaping={scheme}")
    assert (made.name, made.help) == (escape_metric_name("my.c_total", scheme), "h.h")
    assert {label.name: label.value for label in made.metric[0].label} == {
        escape_label_name("a.b", scheme): "c.d",
        escape_label_name("e:f", scheme): "g",
    }
    (label,) = made.metric[0].counter.exemplar.label
    assert (label.name, label.value) == (escape_label_name("trace.id", scheme), "a")


def test_e45_schemes_do_not_share_cached_bytes() -> None:
    """The bytes that a series caches are valid for one scheme only."""
    given = replace(family("m", number(1, {"a.b": "c"}), number(1, {"d": "e"})), utf8=True)
    for scheme in (*ESCAPING_SCHEMES, *ESCAPING_SCHEMES):
        (made,) = read(given, scheme=scheme)
        names = [label.name for metric in made.metric for label in metric.label]
        assert names == [escape_label_name("a.b", scheme), "d"]


def test_e49_colliding_labels_and_families_are_merged() -> None:
    """A duplicate label would spoil the whole response."""
    one, two = counter(1, {"a.b": "1", "a_b": "2"}), counter(2, {"a_b": "3"})
    families = [replace(family(name, one, two, kind="counter"), utf8=True) for name in ("m.x", "m_x")]  # fmt: skip
    (made,) = read(*families)

    refuse(made)
    found = {metric.label[0].value: metric.counter.value for metric in made.metric}
    assert found == {"1;2": 2, "3": 4}


def test_e17_timestamps_only_by_the_formatters_argument() -> None:
    """In milliseconds, on each metric, between the times before and after."""
    native = histogram([1], 1.0, (), NativeBuckets(0, 0.0, 1))
    families = [
        family("a"),
        family("c_total", *[counter(1, {"n": str(n)}) for n in range(3)], kind="counter"),
        family("h", histogram([1], 1.0), native, kind="histogram"),
        family("s", summary(1, 1.0, []), kind="summary"),
    ]
    before = int(time.time() * 1000)
    stamped = [metric.timestamp_ms for made in read(*families, timestamps=True) for metric in made.metric]  # fmt: skip
    after = time.time() * 1000

    assert not any(metric.HasField("timestamp_ms") for made in read(*families) for metric in made.metric)  # fmt: skip
    assert len(stamped) == 7
    assert all(before <= each <= after for each in stamped)


def test_e63_a_time_before_1970_takes_ten_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Like every negative varint without zigzag."""
    clock = SimpleNamespace(time=lambda: -0.005)
    monkeypatch.setattr("otel_aioprom.formats.protobuf.time", clock)
    body = write(family("g"), timestamps=True)

    assert bytes.fromhex("30 fb ff ff ff ff ff ff ff ff 01") in body
    assert read_delimited(body)[0].metric[0].timestamp_ms == -5


def test_n14_a_registry_can_be_marshalled() -> None:
    """With its headers."""
    registry = all_kinds({"a": "b"})
    formatter = BinaryFormatter(False)
    found = {each.name: each for each in read_delimited(formatter.marshall(registry))}

    assert sorted(found) == ["any", "c_total", "g", "h", "s"]
    assert all(len(each.metric) == 1 for each in found.values())
    assert formatter.get_headers()["Content-Type"] == (
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping=underscores"
    )
    empty = CollectorRegistry()
    Counter("unused_total", "", registry=empty)
    assert formatter.marshall(empty) == b""


# --- many series -------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1023, 1024, 1025, 2048, 3000])
@pytest.mark.parametrize("every", [0, 1, 700])
def test_e63_large_families(size: int, every: int) -> None:
    """In several batches, with exemplars on none, all or some; values of all sizes."""
    series = [counter(2 ** (n % 256), {"n": str(n)}, n or None) for n in range(size)]
    for one in series[::every] if every else ():
        one.exemplar = MARK
    for _ in range(2):  # the second time with the cached bytes of the first
        (made,) = read(family("c_total", *series, kind="counter"))
        found = [(each.label[0].value, each.counter) for each in made.metric]
        assert [(name, one.value) for name, one in found] == [(one.values[0], float(one.value)) for one in series]  # fmt: skip
        marked = [one.HasField("exemplar") for _, one in found]
        assert marked == [bool(every) and n % every == 0 for n in range(size)]
        assert [one.created_timestamp.seconds for _, one in found] == [*range(size)]


@pytest.mark.parametrize("native", [None, NativeBuckets(0, 0.0, 1, [(1, 2)])])
def test_e63_large_families_of_histograms(native: NativeBuckets | None) -> None:
    """Series whose lengths differ, some with exemplars; those with native buckets come first."""
    bounds = (1.0, 2.0)
    series = [
        histogram([n, n * n, 0], n / 7, bounds, labels={"n": "é" * (n % 130) + str(n)})
        for n in range(1500)
    ]
    for one in series[::3]:
        one.load([1, 2, 0], 3.0, native)
        one.exemplars = [MARK, None, MARK]
    messages = read(family("h", *series, kind="histogram"))
    series.sort(key=lambda one: one.native is None)

    for each in messages:
        refuse(each)
    metrics = [metric for each in messages for metric in each.metric]
    assert [each.label[0].value for each in metrics] == [one.values[0] for one in series]
    assert [each.histogram.sample_count for each in metrics] == [sum(one.counts) for one in series]
    assert [len(each.histogram.bucket) for each in metrics] == [2 + bool(one.exemplars) for one in series]  # fmt: skip


# --- concurrent changes ------------------------------------------------------------------

Change = Callable[[Any], None]
CHANGES: dict[str, Change] = {
    "larger": lambda one: one.add(2**200),
    "reset": lambda one: one.set(1),
    "exemplar": lambda one: setattr(one, "exemplar", MARK),
    "exemplar gone": lambda one: setattr(one, "exemplar", None),
}


@pytest.mark.parametrize("kept", [False, True], ids=["first response", "later response"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("marked", [0, 190])
def test_e18_e63_series_may_change_while_they_are_encoded(
    change: Change, kept: bool, marked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any chunk: the message keeps its length, and the next one has the change."""
    monkeypatch.setattr(text_lines, "_BUDGET", 1e9)  # the same number of chunks on a busy machine
    pieces = 0
    while True:
        series = [counter(5, {"n": str(n)}, 1.0) for n in range(200)]
        for one in series[:marked]:
            one.exemplar = Exemplar((), 2.0)
        made = family("c_total", *series, kind="counter")
        if kept:
            write(made)
        chunks = BinaryFormatter().encode([made])
        body = b"".join([next(chunks, b"") for _ in range(pieces)])
        for one in series:
            change(one)
        rest = list(chunks)
        (found,) = read_delimited(body + b"".join(rest))
        assert len(found.metric) == 200
        (later,) = read(made)
        for metric, one in zip(later.metric, series):
            assert metric.counter.value == float(one.value)
            assert seconds_of(metric.counter.created_timestamp) == pytest.approx(one.created, abs=1e-5)  # fmt: skip
            assert metric.counter.HasField("exemplar") is (one.exemplar is not None)
        pieces += 1
        if not rest:
            return


class Interrupted(CounterSeries):
    """A counter that another thread changes while its labels are read."""

    __slots__ = ("interrupt",)
    interrupt: Change | None

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The labels, after the interruption."""
        interrupt, self.interrupt = self.interrupt, None
        if interrupt is not None:
            interrupt(self)
        return super().pairs


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_e64_outdated_bytes_are_not_cached(change: Change) -> None:
    """If a series changes during its first encoding, the next response has the change."""
    one = Interrupted((), (), " ", 5, 1.0)
    one.interrupt = change
    made = family("c_total", one, kind="counter")
    read(made)
    (later,) = read(made)
    found = later.metric[0].counter

    assert found.value == float(one.value)
    assert found.HasField("exemplar") is (one.exemplar is not None)
    assert seconds_of(found.created_timestamp) == pytest.approx(one.created, abs=1e-5)


def test_e18_e63_a_thread_may_record_while_responses_are_encoded() -> None:
    """The framing of each response is right, and each histogram consistent."""
    counters = [counter(5, {"n": str(n)}, 1.0) for n in range(1100)]
    sizes: list[Any] = [histogram([0, 0], 0.0, (1.0,), labels={"n": str(n)}) for n in range(100)]
    families = [
        family("c_total", *counters, kind="counter"),
        family("h", *sizes, kind="histogram"),
    ]
    ended, rounds = threading.Event(), 0

    def record() -> None:
        nonlocal rounds
        while not ended.is_set():
            for place, one in enumerate(counters):
                CHANGES[[*CHANGES][(place + rounds) % len(CHANGES)]](one)
            for one in sizes:
                native = NativeBuckets(0, 0.0, one.counts[0] + 1)
                one.load([one.counts[0] + 1, 0], 1.0, None if one.native else native)
            rounds += 1

    thread = threading.Thread(target=record)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    thread.start()
    try:
        end, written = time.monotonic() + 20, 0
        while (written < 20 or rounds < 20) and time.monotonic() < end:
            found = read_delimited(write(*families))
            counted, *measured = [len(each.metric) for each in found]
            assert (counted, sum(measured)) == (1100, 100)
            for each in found:
                refuse(each)
            written += 1
    finally:
        ended.set()
        thread.join()
        sys.setswitchinterval(interval)
    assert written >= 20
    assert rounds >= 20


def test_e63_written_chunks_are_freed() -> None:
    """A slow reader keeps one chunk in memory, not the whole response."""
    made = family("c_total", *[counter(1, {"n": str(n)}) for n in range(5000)], kind="counter")
    chunks = [len(chunk) for chunk in BinaryFormatter().encode([made])]

    (content,) = messages(write(made))
    assert sum(chunks) == len(content) + 3
    assert max(chunks) < len(content) / 4
