"""The sender of remote write: one message after the other, what is tried again, how long it is waited."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from time import time
from typing import Any

import pytest
from yarl import URL

from gateway import Answer, Gateway, Hold
from oracles import DEADLINE
from otel_aioprom.credentials import BearerAuth
from otel_aioprom.delivery import Delivery
from otel_aioprom.errors import MissingExtraError
from otel_aioprom.periodic import Watch
from otel_aioprom.remote_write import sender as module
from otel_aioprom.remote_write.backlog import Entry
from otel_aioprom.remote_write.sender import Outcome, Sender, compress
from processes import free_port
from receiver import TAKEN_1, TAKEN_2, url_of, version_of

WRITTEN = "X-Prometheus-Remote-Write-{}-Written"
REAL_SLEEP = asyncio.sleep


def entry(number: int = 1, version: str = "1.0") -> Entry:
    """A message that can be told from others, of three samples."""
    return Entry(version, 3, compress(bytes([number])))


@asynccontextmanager
async def sending_to(
    url: str, preferred: str = "1.0", attempts: int = 10, **options: Any
) -> AsyncIterator[Sender]:
    """A sender with a session."""
    delivery = Delivery(**options)
    async with delivery.opened():
        yield Sender(URL(url), delivery, preferred, attempts, Watch("writes"))


async def outcome_of(
    gateway: Gateway, message: Entry | None = None, preferred: str = "1.0", **options: Any
) -> Outcome:
    """What becomes of one message."""
    async with sending_to(url_of(gateway), preferred, **options) as sender:
        return await asyncio.wait_for(sender.send(message or entry()), DEADLINE)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it is waited between tries; the waits themselves take no time."""
    found: list[float] = []

    async def sleep(seconds: float, *rest: Any) -> None:
        found.append(seconds)
        await REAL_SLEEP(0)

    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    return found


async def waited(waits: list[float], count: int) -> None:
    """Let the loop run until it was waited so often."""
    while len(waits) < count:
        await REAL_SLEEP(0.005)


# --- what becomes of a message ---------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_success_means_that_all_of_it_was_taken(status: int) -> None:
    """Of 1.0, which has no numbers."""
    with Gateway(Answer(status)) as gateway:
        assert await outcome_of(gateway) == Outcome(str(status), 3, 0)


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 403, 404, 413, 415, 422])
async def test_a_final_answer_ends_it_at_the_first_try(status: int) -> None:
    """Redirects too: they are not followed, so nothing has arrived."""
    answer = Answer(status, headers={"Location": "/elsewhere", "Retry-After": "1"})
    with Gateway(answer, default=TAKEN_1) as gateway:
        assert await outcome_of(gateway) == Outcome(str(status), 0, 3)
        assert len(gateway.requests) == 1


@pytest.mark.parametrize("status", [500, 501, 505, 507, 599])
async def test_trouble_ends_after_so_many_tries(status: int, waits: list[float]) -> None:
    """The last status is what is told; no wait follows the last try."""
    with Gateway(default=Answer(status)) as gateway:
        assert await outcome_of(gateway, attempts=4) == Outcome(str(status), 0, 3)
        assert len(gateway.requests) == 4
    assert len(waits) == 3


@pytest.mark.parametrize("cut", ["request", "answer", "response"])
async def test_a_connection_that_is_cut_is_trouble(cut: Any, waits: list[float]) -> None:
    """Wherever it is cut; whether it has arrived cannot be known."""
    with Gateway(default=Answer(cut=cut, text="partly")) as gateway:
        assert await outcome_of(gateway, attempts=3) == Outcome("error", 0, 3)
        assert len(gateway.requests) == 3


async def test_no_answer_in_time_is_trouble() -> None:
    """The server has the message and may work on it for ever."""
    with Gateway(default=Answer(hold=Hold())) as gateway:
        found = await outcome_of(gateway, attempts=2, timeout=0.05)
        assert found == Outcome("error", 0, 3)
        assert len(gateway.requests) == 2


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_busy_server_uses_up_no_tries(status: int, waits: list[float]) -> None:
    """It says nothing of the message; trouble in between counts alone."""
    answers = [Answer(500), *[Answer(status)] * 30, Answer(500), Answer(status)]
    with Gateway(*answers, default=TAKEN_1) as gateway:
        assert await outcome_of(gateway, attempts=3) == Outcome("204", 3, 0)
        assert len(gateway.requests) == 34


async def test_a_secret_that_cannot_be_read_is_waited_for(tmp_path: Path) -> None:
    """Whoever replaces the file takes a moment; the message is sent then, with the new secret."""
    file = tmp_path / "token"
    auth = BearerAuth(token_file=file)
    with Gateway(default=TAKEN_1) as gateway:
        async with sending_to(url_of(gateway), attempts=1, auth=auth) as sender:
            task = asyncio.create_task(sender.send(entry()))
            done, _ = await asyncio.wait([task], timeout=0.3)
            file.write_text("new")
            found = await asyncio.wait_for(task, DEADLINE)

    assert (done, found) == (set(), Outcome("204", 3, 0))
    assert gateway.last.headers["Authorization"] == "Bearer new"


async def test_whoever_cancels_stops_it_at_once() -> None:
    """In a try, and in the wait for the next one."""
    for answer in (Answer(hold=Hold()), Answer(503, headers={"Retry-After": "3600"})):
        with Gateway(answer, default=TAKEN_1) as gateway:
            async with sending_to(url_of(gateway)) as sender:
                task = asyncio.create_task(sender.send(entry()))
                await gateway.arrived(1)
                await asyncio.wait([task], timeout=0.05)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.wait_for(task, DEADLINE)
            assert len(gateway.requests) == 1


# --- waits -----------------------------------------------------------------------------------


async def test_waits_double_up_to_a_bound(waits: list[float]) -> None:
    """Each is drawn between a half and the whole, and no number of tries makes one longer."""
    with Gateway(*[Answer(503)] * 80, default=TAKEN_1) as gateway:
        await outcome_of(gateway)
    bounds = [min(5.0, 0.1 * 2**tried) for tried in range(80)]

    assert len(waits) == 80
    assert all(bound / 2 <= wait <= bound for wait, bound in zip(waits, bounds))


async def test_a_server_that_is_away_is_waited_for_in_the_same_way(waits: list[float]) -> None:
    """However few tries a message has; nobody answers, so it is not to blame."""
    async with sending_to(f"http://127.0.0.1:{free_port()}/", attempts=1) as sender:
        task = asyncio.create_task(sender.send(entry()))
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
async def test_it_is_waited_as_long_as_a_server_asks(
    waits: list[float], asked: str, least: float, most: float
) -> None:
    """Five minutes at most; what makes no sense is passed over."""
    with Gateway(Answer(503, headers={"Retry-After": asked}), default=TAKEN_1) as gateway:
        await outcome_of(gateway)

    (wait,) = waits
    assert least <= wait <= most


async def test_it_is_waited_until_the_date_that_a_server_tells(waits: list[float]) -> None:
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
async def test_no_answer_makes_it_try_without_a_wait(waits: list[float], asked: str) -> None:
    """A server that is busy for an hour would be asked a million times."""
    answers = [Answer(429, headers={"Retry-After": asked})] * 20
    with Gateway(*answers, default=TAKEN_1) as gateway:
        await outcome_of(gateway)

    assert len(waits) == 20
    assert min(waits) > 0


# --- versions --------------------------------------------------------------------------------


async def agreed(*answers: Answer, default: Answer = TAKEN_2) -> tuple[str, int]:
    """The version that is agreed on, and how often the server was asked."""
    with Gateway(*answers, default=default) as gateway:
        async with sending_to(url_of(gateway), "2.0") as sender:
            for _ in range(3):
                await sender.agree()
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
    """It is asked once."""
    assert await agreed(Answer(204, headers=headers)) == (version, 1)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_server_that_has_no_time_is_asked_again(status: int) -> None:
    """It has not said no."""
    assert await agreed(Answer(status)) == ("2.0", 2)


async def test_a_number_that_is_endless_is_none() -> None:
    """Python refuses to read so many digits; a broken server stops nothing."""
    endless = Answer(204, headers={WRITTEN.format("Samples"): "9" * 5000})
    with Gateway(TAKEN_2, endless, default=TAKEN_2) as gateway:
        found = await outcome_of(gateway, entry(version="2.0"), "2.0")

    assert found.sent + found.lost == 3


@pytest.mark.parametrize(("samples", "sent"), [("2", 2), ("3", 3), ("4000", 3), ("0", 0)])
@pytest.mark.parametrize("status", [204, 400])
async def test_of_version_2_the_numbers_count(status: int, samples: str, sent: int) -> None:
    """Whatever the status says; no more than was in it."""
    headers = {WRITTEN.format("Samples"): samples, WRITTEN.format("Histograms"): "0"}
    with Gateway(TAKEN_2, Answer(status, headers=headers)) as gateway:
        found = await outcome_of(gateway, entry(version="2.0"), "2.0")

    assert found == Outcome(str(status), sent, 3 - sent)


async def test_a_message_goes_in_the_version_it_is_written_in() -> None:
    """One of an earlier run may be of another version than the one that is agreed on now."""
    with Gateway(default=TAKEN_2) as gateway:
        async with sending_to(url_of(gateway)) as sender:
            await sender.send(entry(1, "2.0"))
            await sender.send(entry(2, "1.0"))

    assert [version_of(push) for push in gateway.requests] == ["2.0", "1.0"]


# --- the log, the extra ----------------------------------------------------------------------


async def test_only_changes_are_logged(
    caplog: pytest.LogCaptureFixture, waits: list[float]
) -> None:
    """The first failure with its reason, and the return; credentials in the address stay out of it."""
    caplog.set_level(logging.INFO, "otel_aioprom")
    with Gateway(*[Answer(503, "no time")] * 50, default=TAKEN_1) as gateway:
        url = url_of(gateway).replace("//", "//user:secret@")
        async with sending_to(url) as sender:
            for _ in range(5):
                await sender.send(entry())
    found = [(each.levelname, each.getMessage()) for each in caplog.records]

    assert [level for level, _ in found] == ["WARNING", "INFO"]
    assert "status 503: no time" in found[0][1]
    assert "secret" not in caplog.text


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the words that bring it."""

    def missing(name: str) -> Any:
        if name == "cramjam":
            raise ImportError(name)
        return importlib.import_module(name)

    monkeypatch.setattr(module, "import_module", missing)
    module._snappy.cache_clear()
    with pytest.raises(MissingExtraError, match=r"pip install otel-aioprom\[remote-write\]"):
        compress(b"")
    monkeypatch.undo()
    assert compress(b"") == b"\0"
