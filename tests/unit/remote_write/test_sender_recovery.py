"""What a server refuses costs itself: native histograms, single samples, a version, a time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import cramjam
import pytest

from gateway import Answer, Gateway, Push
from oracles import DEADLINE, until
from otel_aioprom.collectors import Gauge, Histogram
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.remote_write.sending.outcome import Outcome
from otel_aioprom.remote_write.writer import RemoteWriter
from pushed import levels
from receiver import (
    TAKEN_1,
    TAKEN_2,
    Judge,
    message,
    points_of,
    record_waits,
    sending_to,
    url_of,
    version_of,
)
from write_model import Point, Request, WriteRequest

NO_NATIVE = Answer(500, "native histograms are disabled\n")
FUTURE = Answer(400, "out of bounds: timestamp is too far in the future\n")
WRITTEN = "X-Prometheus-Remote-Write-{}-Written"


def outcomes(registry: CollectorRegistry) -> dict[str, float]:
    """Outcome → number of samples."""
    return {labels["outcome"]: value for labels, value in registry.pushes.samples.get_all()}


def accepted(judge: Judge, taken: Callable[[Push], bool]) -> list[Point]:
    """All points that were stored."""
    return [point for push in judge.requests if taken(push) for point in points_of(push)]


def answer_to(push: Push, refused: bool, refusal: Answer) -> Answer:
    """The answer to a message, of its version."""
    if refused:
        return refusal
    return TAKEN_2 if version_of(push) == "2.0" else TAKEN_1


def natives(*values: float) -> CollectorRegistry:
    """A registry with a native histogram and a gauge."""
    registry = CollectorRegistry()
    Gauge("level", "Level.", registry=registry).set({}, 7.125)
    sizes = Histogram("sizes", "Sizes.", buckets=None, native_bucket_factor=1.1, registry=registry)
    for value in values:
        sizes.observe({}, value)
    return registry


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it is waited between tries; the waits themselves take no time."""
    return record_waits(monkeypatch)


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Warnings and errors."""
    records = [each for each in caplog.records if each.levelno >= logging.WARNING]
    return [each.getMessage() for each in records]


# --- native histograms -----------------------------------------------------------------------


def has_native(push: Push) -> bool:
    """Whether a message has native histograms; those that were rewritten have symbols of no use."""
    body = points_of_any(push)
    return any(each.histograms for each in body)


def points_of_any(push: Push) -> Any:
    """The time series of a message, without the checks of a strict server."""
    kind = WriteRequest if version_of(push) == "1.0" else Request
    return kind.FromString(bytes(cramjam.snappy.decompress_raw(push.body))).timeseries


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("refusal", [NO_NATIVE, Answer(400, "Native histograms not enabled")])
async def test_a_permanent_fault_in_the_guise_of_a_5xx_costs_itself(
    version: Any, refusal: Answer, caplog: pytest.LogCaptureFixture, waits: list[float]
) -> None:
    """A server without native histograms gets count and sum, at once; all else is stored."""
    registry = natives(1.25, 3.5)
    with Judge(lambda push: answer_to(push, has_native(push), refusal)) as judge:
        async with RemoteWriter(url_of(judge), version=version) as writer:
            for _ in range(3):
                await writer.write(registry)
                assert await writer.flush(DEADLINE)
    refused = [has_native(push) for push in judge.requests]
    first_refused = refused.index(True)
    (line,) = logged(caplog)

    assert refused.count(True) == 1
    assert refused[first_refused + 1] is False
    assert waits == [0] * len(waits)
    assert "--enable-feature=native-histograms" in line
    assert "native_histograms=False" in line
    assert outcomes(registry)["refused"] == 1  # the native histogram
    assert "lost" not in outcomes(registry)
    stored = [
        each for push in judge.requests if not has_native(push) for each in points_of_any(push)
    ]
    assert sum(each.samples[0].value == 7.125 for each in stored) == 3
    assert sum(each.samples[0].value == 4.75 for each in stored) == 3  # the sum of the observations


async def test_native_histograms_of_an_earlier_run_cost_themselves(
    tmp_path: Any, waits: list[float]
) -> None:
    """They wait in the folder, in messages that the server does not take as they are."""
    registry = natives(1.25, 3.5)
    away = Answer(503)
    with Judge(lambda push: away) as judge:
        async with RemoteWriter(url_of(judge), spool=tmp_path, flush_timeout=0.01) as writer:
            for _ in range(3):
                await writer.write(registry)
    with Judge(lambda push: answer_to(push, has_native(push), NO_NATIVE)) as judge:
        async with RemoteWriter(url_of(judge), spool=tmp_path) as writer:
            assert await writer.flush(DEADLINE)
    found = [point.value for push in judge.requests if not has_native(push) for point in points_of(push)
             if ("__name__", "sizes_sum") in point.labels]  # fmt: skip

    assert found == [4.75] * 3


async def test_a_refusal_of_one_native_histogram_is_no_refusal_of_all() -> None:
    """It has too many buckets, say: the others remain native."""
    registry = natives(1)
    with Gateway(Answer(400, "native histogram has too many buckets"), default=TAKEN_1) as gateway:
        async with RemoteWriter(url_of(gateway)) as writer:
            for _ in range(2):
                await writer.write(registry)
                assert await writer.flush(DEADLINE)

    assert any(has_native(push) for push in gateway.requests[-1:])


# --- single samples --------------------------------------------------------------------------


def has_infinite(push: Push) -> bool:
    """As InfluxDB 1.6: no message may have an infinite value."""
    return any(abs(each.samples[0].value) == float("inf") for each in points_of_any(push))


@pytest.mark.parametrize("bad", [[0], [499], [250], [3, 4, 499], []])
async def test_e101_one_bad_sample_costs_itself(
    bad: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    """A message of version 1.0 that is refused whole is divided; the number of requests is limited."""
    registry = CollectorRegistry()
    gauge = Gauge("g", "Level.", registry=registry)
    for place in range(500):
        gauge.set({"place": place}, float("inf") if place in bad else place)
    refusal = Answer(400, "unsupported value: +Inf")
    with Judge(lambda push: answer_to(push, has_infinite(push), refusal)) as judge:
        async with RemoteWriter(url_of(judge)) as writer:
            await writer.write(registry)
            assert await writer.flush(DEADLINE)
    stored = accepted(judge, lambda push: not has_infinite(push))

    assert sorted(point.value for point in stored) == [n for n in range(500) if n not in bad]  # type: ignore[type-var]
    assert outcomes(registry).get("refused", 0) == len(bad)
    assert len(judge.requests) <= 1 + 2 * 9 * max(1, len(bad))
    lines = logged(caplog)[:1]
    assert all(f"{500 - len(bad)} of 500 samples arrived" in line for line in lines)
    assert len(lines) == bool(bad)


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_server_that_refuses_all_is_not_flooded(status: int) -> None:
    """A message is not divided down to each sample; the next ones not at all, for a while or until one is accepted."""
    registry = levels(*range(20))
    with Gateway(default=Answer(status)) as gateway:
        async with RemoteWriter(url_of(gateway)) as writer:
            counts = []
            for _ in range(4):
                await writer.write(registry)
                assert await writer.flush(DEADLINE)
                counts.append(len(gateway.requests))
            gateway.default = TAKEN_1
            await writer.write(registry)
            assert await writer.flush(DEADLINE)
            gateway.script.append(Answer(status))
            await writer.write(registry)
            assert await writer.flush(DEADLINE)

    assert counts[0] <= 12
    assert [later - before for before, later in pairwise(counts)] == [1, 1, 1]
    assert len(gateway.requests) == counts[-1] + 1 + 3


async def test_a_time_in_which_all_is_refused_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Afterwards one bad sample costs itself again, though each message has one."""
    clock = [0.0]
    monkeypatch.setattr("otel_aioprom.remote_write.sending.sender.monotonic", lambda: clock[0])
    registry = levels(1, float("inf"), 3, 4)
    refuses_all = True
    refusal = Answer(400, "refused")
    with Judge(lambda push: answer_to(push, refuses_all or has_infinite(push), refusal)) as judge:
        async with RemoteWriter(url_of(judge)) as writer:
            counts = []
            for clock[0] in (0.0, 59.0, 61.0):
                await writer.write(registry)
                assert await writer.flush(DEADLINE)
                counts.append(len(judge.requests))
                refuses_all = False
    bound = counts[1]
    stored = [
        point.value
        for push in judge.requests[bound:]
        if not has_infinite(push)
        for point in points_of(push)
    ]

    assert bound - counts[0] == 1
    assert {1, 3, 4} <= set(stored)
    assert outcomes(registry)["sent"] == len(stored)


async def test_a_sample_that_causes_server_errors_costs_itself(waits: list[float]) -> None:
    """When the attempts are used up, the message is divided: some stores answer 500 to permanent errors."""
    registry = levels(1, float("inf"), 3, 4)
    with Judge(lambda push: answer_to(push, has_infinite(push), Answer(500, "panic"))) as judge:
        async with RemoteWriter(url_of(judge), attempts=3) as writer:
            await writer.write(registry)
            assert await writer.flush(DEADLINE)
    stored = accepted(judge, lambda push: not has_infinite(push))

    assert [point.value for point in stored] == [1, 3, 4]
    assert outcomes(registry) == {"sent": 3, "refused": 1}
    assert len(judge.requests) == 3 + 4


async def test_server_errors_cost_no_part_of_a_divided_message(waits: list[float]) -> None:
    """Each part has the attempts of a message, as long as they are not used up."""
    registry = levels(1, float("inf"), 3, 4)
    counts = dict.fromkeys(range(20), 0)

    def judge_part(push: Push) -> Answer:
        size = len(points_of(push))
        counts[size] += 1
        if size == 2 and counts[size] < 3:
            return Answer(500, "for now")
        return answer_to(push, has_infinite(push), Answer(400, "infinite"))

    with Judge(judge_part) as judge:
        async with RemoteWriter(url_of(judge), attempts=4) as writer:
            await writer.write(registry)
            assert await writer.flush(DEADLINE)

    assert outcomes(registry) == {"sent": 3, "refused": 1}


async def test_a_2_0_server_that_stores_the_good_ones_is_believed() -> None:
    """Its numbers say what is missing; nothing is sent again."""
    numbers = {WRITTEN.format("Samples"): "1", WRITTEN.format("Histograms"): "0"}
    with Gateway(TAKEN_2, Answer(400, "two are bad", numbers), default=TAKEN_2) as gateway:
        registry = levels(1, 2, 3)
        async with RemoteWriter(url_of(gateway), version="2.0") as writer:
            await writer.write(registry)
            assert await writer.flush(DEADLINE)

    assert len(gateway.requests) == 2
    assert outcomes(registry) == {"sent": 1, "refused": 2}


async def test_a_partly_stored_message_is_logged_as_such(caplog: pytest.LogCaptureFixture) -> None:
    """With the number that arrived; "nothing" would be wrong."""
    numbers = {WRITTEN.format("Samples"): "2"}
    with Gateway(TAKEN_2, Answer(400, "one is bad", numbers)) as gateway:
        async with sending_to(url_of(gateway), "2.0") as sender:
            assert await sender.send(message(version="2.0")) == Outcome("400", 2, 1)
    (line,) = logged(caplog)

    assert "2 of 3 samples arrived: status 400: one is bad" in line
    assert "nothing" not in line


# --- versions --------------------------------------------------------------------------------


async def test_e102_a_server_that_knows_only_2_0_gets_it(caplog: pytest.LogCaptureFixture) -> None:
    """It answers 415 to 1.0: what was in flight is lost, and counted; the next collection arrives."""
    registry = levels(1)

    def judge_version(push: Push) -> Answer:
        return TAKEN_2 if version_of(push) == "2.0" else Answer(415, "only v2")

    with Judge(judge_version) as judge:
        async with RemoteWriter(url_of(judge)) as writer:
            for _ in range(3):
                await writer.write(registry)
                assert await writer.flush(DEADLINE)

    assert [version_of(push) for push in judge.requests] == ["1.0", "2.0", "2.0", "2.0"]
    assert "supports only remote write 2.0" in caplog.text
    assert outcomes(registry)["refused"] == 1
    assert outcomes(registry)["sent"] >= 2


async def test_a_server_that_knows_no_version_is_asked_once() -> None:
    """It answers 415 to each."""
    with Gateway(default=Answer(415)) as gateway:
        async with RemoteWriter(url_of(gateway)) as writer:
            for _ in range(3):
                await writer.write(levels(1))
                assert await writer.flush(DEADLINE)

    versions = [version_of(push) for push in gateway.requests]
    assert versions == ["1.0", "2.0", "1.0", "1.0"]


# --- times -----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.0", "2.0"])
async def test_e100_a_time_that_was_refused_does_not_bind(
    version: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The clock is two hours ahead for one collection: that is refused, and the next one is stored."""
    clock = [1_800_000_000.0]
    monkeypatch.setattr("otel_aioprom.remote_write.writer.time", lambda: clock[0])
    limit = clock[0] * 1000 + 600_000

    def judge_time(push: Push) -> Answer:
        late = any(point.moment > limit for point in points_of(push))
        numbers = {WRITTEN.format("Samples"): "0"} if version == "2.0" else {}
        return answer_to(push, late, Answer(400, FUTURE.text, numbers))

    registry = levels(1, 2)
    moments = []
    with Judge(judge_time) as judge:
        async with RemoteWriter(url_of(judge), version=version) as writer:
            for ahead in (0, 7200, 1, 2, 3):
                clock[0] = 1_800_000_000.0 + ahead
                await writer.write(registry)
                assert await writer.flush(DEADLINE)
                moments += [point.moment for point in points_of(judge.last)][:1]

    assert [moment // 1000 - 1_800_000_000 for moment in moments] == [0, 7200, 1, 2, 3]
    every = [point.moment for push in judge.requests for point in points_of(push)]
    assert (
        len({moment for moment in every if moment > limit}) == 1
    )  # and it is sent once, undivided
    assert sum("are 7199 s ahead of the clock" in line for line in logged(caplog)) == 1


async def test_e100_times_that_wait_still_bind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes back makes no sample older than one that may yet be stored."""
    clock = [1_800_000_000.0]
    monkeypatch.setattr("otel_aioprom.remote_write.writer.time", lambda: clock[0])
    registry = levels(1)
    with Gateway(Answer(400, FUTURE.text), default=TAKEN_1) as gateway:
        async with RemoteWriter(url_of(gateway)) as writer:
            for ahead in (5, 6, 3, 4, 7):
                clock[0] = 1_800_000_000.0 + ahead
                await writer.write(registry)
                if ahead == 5:
                    await until(lambda: not len(writer._outbox.queue))
            assert await writer.flush(DEADLINE)
    moments = [point.moment for push in gateway.requests for point in points_of(push)]

    assert moments == sorted(moments)
