"""The sender of remote write: how long it waits for the next try, and which version a server gets."""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from time import time

import pytest

from gateway import Answer, Gateway
from oracles import DEADLINE
from otel_aioprom.remote_write.sending.outcome import Outcome
from processes import free_port
from receiver import (
    REAL_SLEEP,
    TAKEN_1,
    TAKEN_2,
    message,
    outcome_of,
    record_waits,
    sending_to,
    url_of,
    version_of,
)

WRITTEN = "X-Prometheus-Remote-Write-{}-Written"


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it is waited between tries; the waits themselves take no time."""
    return record_waits(monkeypatch)


async def waited(waits: list[float], count: int) -> None:
    """Let the loop run until it was waited so often."""
    while len(waits) < count:
        await REAL_SLEEP(0.005)


# --- waits -----------------------------------------------------------------------------------


async def test_waits_double_up_to_a_bound(waits: list[float]) -> None:
    """Each is drawn between a half and the whole, and no number of tries makes one longer."""
    with Gateway(*[Answer(503)] * 80, default=TAKEN_1) as gateway:
        await outcome_of(gateway)
    bounds = [min(5.0, 0.1 * 2**tried) for tried in range(80)]

    assert len(waits) == 80
    assert all(bound / 2 <= wait <= bound for wait, bound in zip(waits, bounds))


async def test_an_unreachable_server_uses_up_no_attempts(waits: list[float]) -> None:
    """However few tries a message has; nobody answers, so it is not to blame."""
    async with sending_to(f"http://127.0.0.1:{free_port()}/", attempts=1) as sender:
        task = asyncio.create_task(sender.send(message()))
        await asyncio.wait_for(waited(waits, 10), DEADLINE)
        task.cancel()
        await asyncio.wait([task])

    assert all(0.05 <= wait <= 5.0 for wait in waits)


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [
        ("7", 7, 7),
        (" 7 ", 7, 7),
        ("86400", 300, 300),
        ("soon", 0.05, 0.1),
        ("-5", 0.05, 0.1),
        ("1.5", 0.05, 0.1),
        ("", 0.05, 0.1),
    ],
)
async def test_retry_after_in_seconds(
    waits: list[float], asked: str, least: float, most: float
) -> None:
    """Five minutes at most; what makes no sense is passed over."""
    with Gateway(Answer(503, headers={"Retry-After": asked}), default=TAKEN_1) as gateway:
        await outcome_of(gateway)

    (wait,) = waits
    assert least <= wait <= most


async def test_retry_after_as_a_date(waits: list[float]) -> None:
    """In the form of HTTP."""
    with Gateway(default=TAKEN_1) as gateway:
        date = formatdate(time() + 100, usegmt=True)
        gateway.script.append(Answer(503, headers={"Retry-After": date}))
        await outcome_of(gateway)

    (wait,) = waits
    assert 100 - DEADLINE < wait <= 100


@pytest.mark.parametrize(
    "asked", ["0", "Thu, 01 Jan 1970 00:00:00 GMT", "9" * 400], ids=["zero", "past", "endless"]
)
async def test_no_response_makes_it_retry_without_a_wait(waits: list[float], asked: str) -> None:
    """An overloaded server would get a million requests per hour."""
    answers = [Answer(429, headers={"Retry-After": asked})] * 20
    with Gateway(*answers, default=TAKEN_1) as gateway:
        await outcome_of(gateway)

    assert len(waits) == 20
    assert min(waits) > 0


# --- versions --------------------------------------------------------------------------------


async def agreed(*answers: Answer, default: Answer = TAKEN_2) -> tuple[str, int]:
    """The negotiated version, and the number of requests."""
    with Gateway(*answers, default=default) as gateway:
        async with sending_to(url_of(gateway), "2.0") as sender:
            for _ in range(3):
                await sender.negotiate()
            assert {version_of(push) for push in gateway.requests} == {"2.0"}
            return sender.version, len(gateway.requests)


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        ({WRITTEN.format("Samples"): "0"}, "2.0"),
        ({WRITTEN.format("Histograms"): "0"}, "2.0"),
        ({WRITTEN.format("samples").lower(): "0"}, "2.0"),
        ({}, "1.0"),
        ({WRITTEN.format("Samples"): ""}, "1.0"),
        ({WRITTEN.format("Samples"): "-1"}, "1.0"),
        ({WRITTEN.format("Samples"): "none"}, "1.0"),
    ],
)
async def test_a_server_knows_version_2_if_it_says_how_much_it_has_stored(
    headers: dict[str, str], version: str
) -> None:
    """It is negotiated once."""
    assert await agreed(Answer(204, headers=headers)) == (version, 1)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_negotiation_with_an_overloaded_server_is_repeated(status: int) -> None:
    """It has not said no."""
    assert await agreed(Answer(status)) == ("2.0", 2)


async def test_a_number_that_is_endless_is_none() -> None:
    """Python refuses to read so many digits; a broken server stops nothing."""
    endless = Answer(204, headers={WRITTEN.format("Samples"): "9" * 5000})
    with Gateway(TAKEN_2, endless, default=TAKEN_2) as gateway:
        found = await outcome_of(gateway, message(version="2.0"), "2.0")

    assert found.sent + found.lost == 3


@pytest.mark.parametrize(("samples", "sent"), [("2", 2), ("3", 3), ("4000", 3), ("0", 0)])
@pytest.mark.parametrize("status", [204, 400])
async def test_of_version_2_the_numbers_count(status: int, samples: str, sent: int) -> None:
    """Whatever the status says; no more than was in it."""
    headers = {WRITTEN.format("Samples"): samples, WRITTEN.format("Histograms"): "0"}
    with Gateway(TAKEN_2, Answer(status, headers=headers)) as gateway:
        found = await outcome_of(gateway, message(version="2.0"), "2.0")

    assert found == Outcome(str(status), sent, 3 - sent)


async def test_a_message_goes_in_the_version_it_is_written_in() -> None:
    """One of an earlier run may be of another version than the one that is agreed on now."""
    with Gateway(default=TAKEN_2) as gateway:
        async with sending_to(url_of(gateway)) as sender:
            await sender.send(message(1, "2.0"))
            await sender.send(message(2, "1.0"))

    assert [version_of(push) for push in gateway.requests] == ["2.0", "1.0"]
