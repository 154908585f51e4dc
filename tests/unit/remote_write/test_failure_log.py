"""The log of what fails: one line when it begins, one with the number when it ends, however it flaps in between."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway import Answer, Gateway, Hold
from oracles import DEADLINE
from otel_aioprom.collectors import Gauge
from otel_aioprom.errors import SpoolError
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.remote_write.sending.failure_log import FailureLog
from otel_aioprom.remote_write.writer import RemoteWriter
from processes import free_port
from pushed import LONG, levels
from receiver import TAKEN_1, url_of


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Returns the lines of the library so far, each with its level."""
    caplog.set_level(logging.INFO, "otel_aioprom")
    return lambda: [f"{each.levelname} {each.getMessage()}" for each in caplog.records]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in its only element."""
    now = [1000.0]
    place = "otel_aioprom.remote_write.sending.failure_log.monotonic"
    monkeypatch.setattr(place, lambda: now[0])
    return now


# --- alone -----------------------------------------------------------------------------------


def test_what_flaps_logs_a_few_lines_an_hour(clock: list[float], lines: Any) -> None:
    """Each failure is followed by a success, for an hour; the count goes on."""
    log = FailureLog("writes")
    for _ in range(720):
        log.failed("503")
        log.worked()
        clock[0] += 5

    assert lines()[:2] == [
        "WARNING writes fail: 503",
        "INFO writes work again, after 1 that failed",
    ]
    assert len(lines()) <= 14
    assert "after 12 that failed" in lines()[3]


def test_after_a_calm_while_each_outage_is_logged(clock: list[float], lines: Any) -> None:
    """It has nothing to do with the one before."""
    log = FailureLog("writes")
    for _ in range(3):
        log.failed("503")
        log.worked()
        clock[0] += 3600

    assert [line.split()[0] for line in lines()] == ["WARNING", "INFO"] * 3


def test_an_outage_that_begins_in_the_quiet_is_logged_later(clock: list[float], lines: Any) -> None:
    """While it still lasts."""
    log = FailureLog("writes")
    log.failed("first")
    log.worked()
    for _ in range(30):
        clock[0] += 5
        log.failed("second")

    assert lines()[2:] == ["WARNING writes fail: second"]


@pytest.mark.parametrize("ends", ["success", "close"])
def test_no_loss_is_silent(clock: list[float], lines: Any, ends: str) -> None:
    """What is lost between two lines is in the next one: at a success after the quiet, or at the end."""
    log = FailureLog("writes")
    log.failed("503")
    log.worked()
    log.failed("400", 7)
    log.worked()
    assert len(lines()) == 2
    clock[0] += 100
    if ends == "success":
        log.worked()
    log.close()

    assert len(lines()) == 3
    assert lines()[2].startswith("WARNING")
    assert lines()[2].endswith("after 1 that failed; 7 samples are lost")


# --- of a writer -----------------------------------------------------------------------------


def outcomes(registry: CollectorRegistry) -> dict[str, float]:
    """Outcome → number of samples."""
    return {labels["outcome"]: value for labels, value in registry.pushes.samples.get_all()}


def full(*_: Any) -> None:
    """A disk without space."""
    raise OSError(28, "No space left on device")


async def test_a_full_disk_is_logged_while_the_store_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: Any
) -> None:
    """It is another cause: that the writes fail already says nothing of it."""
    url = f"http://127.0.0.1:{free_port()}/"
    registry = levels(1)
    async with RemoteWriter(url, spool=tmp_path, flush_timeout=0.01) as writer:
        await writer.write(registry)
        assert not await writer.flush(0.1)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", full)
            for _ in range(3):
                with pytest.raises(SpoolError):
                    await writer.write(registry)
        await writer.write(registry)

    spooled = [line for line in lines() if "spooled messages" in line]
    assert len(spooled) == 2
    assert "fail: messages cannot be kept in" in spooled[0]
    assert "No space left on device" in spooled[0]
    lost = int(outcomes(registry)["lost"])
    assert spooled[1].endswith(f"work again, after 3 that failed; {lost} samples are lost")


async def test_all_of_a_collection_that_is_not_kept_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The messages that were to follow, too; those that have space again are kept."""
    registry = levels(*range(8))
    write, wrote = Path.write_bytes, 0

    def full_for_a_while(path: Path, content: bytes) -> int:
        nonlocal wrote
        wrote += 1
        if wrote in {2, 3}:
            full()
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full_for_a_while)
    with Gateway(default=TAKEN_1) as gateway:
        async with RemoteWriter(url_of(gateway), spool=tmp_path, max_samples=2) as writer:
            with pytest.raises(SpoolError):
                await writer.write(registry)
            assert await writer.flush(DEADLINE)

    assert outcomes(registry) == {"sent": 4, "lost": 4}


async def test_run_goes_on_with_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: Any
) -> None:
    """To the end, where it raises nothing, and logs once."""
    with Gateway(default=TAKEN_1) as gateway:
        writer = RemoteWriter(url_of(gateway), spool=tmp_path)
        async with writer.running(levels(1), LONG, exit_timeout=DEADLINE):
            await gateway.arrived(1)
            monkeypatch.setattr(Path, "write_bytes", full)

    assert sum("No space left" in line for line in lines()) == 1
    assert "samples are lost" in lines()[-1]


async def test_the_drops_of_a_full_queue_are_logged(lines: Any) -> None:
    """When dropping begins, and with the number when the queue is empty again."""
    registry = CollectorRegistry()
    gauge = Gauge("g", "Level.", registry=registry)
    hold = Hold()
    with Gateway(Answer(204, hold=hold), default=TAKEN_1) as gateway:
        async with RemoteWriter(url_of(gateway), queue_bytes=2000) as writer:
            for value in range(100):
                gauge.set({}, value)
                await writer.write(registry)
            await gateway.arrived(1)
            assert len(lines()) == 1
            hold.let_go()
            assert await writer.flush(DEADLINE)
        dropped = int(outcomes(registry)["dropped"])

    first, last = lines()
    assert "is full (queue_bytes=2000): the oldest samples are dropped" in first
    assert f"; {dropped} samples are lost" in last


async def test_a_queue_that_is_full_again_and_again_logs_a_few_lines(lines: Any) -> None:
    """It is too small for a collection; all numbers together are those that were dropped."""
    registry = CollectorRegistry()
    gauge = Gauge("g", "Level.", registry=registry)
    for place in range(3000):
        gauge.set({"place": place}, place)
    with Gateway(default=TAKEN_1) as gateway:
        async with RemoteWriter(url_of(gateway), queue_bytes=2000) as writer:
            for _ in range(5):
                await writer.write(registry)
                assert await writer.flush(DEADLINE)
    numbers = re.findall(r"(\d+) samples are lost", "\n".join(lines()))

    assert [line.split(":")[-1] for line in lines()][:1] == [" the oldest samples are dropped"]
    assert len(lines()) <= 3
    assert sum(map(int, numbers)) == outcomes(registry)["dropped"]


async def test_a_store_that_flaps_logs_two_lines(lines: Any) -> None:
    """However often it answers 503 in between; nothing is lost."""
    registry = levels(1)
    wait = {"Retry-After": "0"}
    with Gateway(default=TAKEN_1) as gateway:
        async with RemoteWriter(url_of(gateway)) as writer:
            for _ in range(5):
                gateway.script.append(Answer(503, "busy", wait))
                await writer.write(registry)
                assert await writer.flush(DEADLINE)

    assert [line.split()[0] for line in lines()] == ["WARNING", "INFO"]
    assert outcomes(registry).keys() == {"sent"}
