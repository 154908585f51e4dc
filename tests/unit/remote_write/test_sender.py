"""The sender of remote write: outcomes of messages, and logs."""

from __future__ import annotations

import asyncio
import importlib
import logging
from pathlib import Path
from typing import Any

import pytest

from gateway import Answer, Gateway, Hold
from oracles import DEADLINE
from otel_aioprom._transport.credentials import BearerAuth
from otel_aioprom.errors import MissingExtraError
from otel_aioprom.remote_write.sending import protocol as module
from otel_aioprom.remote_write.sending.outcome import Outcome
from otel_aioprom.remote_write.sending.protocol import compress
from receiver import (
    TAKEN_1,
    message,
    outcome_of,
    record_waits,
    sending_to,
    url_of,
)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it is waited between tries; the waits themselves take no time."""
    return record_waits(monkeypatch)


# --- what becomes of a message ---------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_success_means_that_all_of_it_was_taken(status: int) -> None:
    """Of 1.0, which has no numbers."""
    with Gateway(Answer(status)) as gateway:
        assert await outcome_of(gateway) == Outcome(str(status), 3, 0)


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 403, 404, 413, 415, 422])
async def test_a_final_status_is_not_retried(status: int) -> None:
    """Redirects too: they are not followed, so nothing has arrived."""
    answer = Answer(status, headers={"Location": "/elsewhere", "Retry-After": "1"})
    with Gateway(answer, default=TAKEN_1) as gateway:
        assert await outcome_of(gateway) == Outcome(str(status), 0, 3)
        assert len(gateway.requests) == (2 if status == 415 else 1)  # that asks for 2.0


@pytest.mark.parametrize("status", [500, 501, 505, 507, 599])
async def test_server_errors_end_after_the_maximum_attempts(
    status: int, waits: list[float]
) -> None:
    """The last status is returned; there is no wait after the last attempt."""
    with Gateway(default=Answer(status)) as gateway:
        assert await outcome_of(gateway, attempts=4) == Outcome(str(status), 0, 3)
        assert len(gateway.requests) == 4
    assert len(waits) == 3


@pytest.mark.parametrize("cut", ["request", "answer", "response"])
async def test_a_lost_connection_counts_as_a_failed_attempt(cut: Any, waits: list[float]) -> None:
    """Wherever it is cut; whether it has arrived cannot be known."""
    with Gateway(default=Answer(cut=cut, text="partly")) as gateway:
        assert await outcome_of(gateway, attempts=3) == Outcome("error", 0, 3)
        assert len(gateway.requests) == 3


async def test_a_timeout_counts_as_a_failed_attempt() -> None:
    """The server has the message and may work on it for ever."""
    with Gateway(default=Answer(hold=Hold())) as gateway:
        found = await outcome_of(gateway, attempts=2, timeout=0.05)
        assert found == Outcome("error", 0, 3)
        assert len(gateway.requests) == 2


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_an_overloaded_server_uses_up_no_attempts(status: int, waits: list[float]) -> None:
    """Its status does not depend on the message; only other failures count."""
    answers = [Answer(500), *[Answer(status)] * 30, Answer(500), Answer(status)]
    with Gateway(*answers, default=TAKEN_1) as gateway:
        assert await outcome_of(gateway, attempts=3) == Outcome("204", 3, 0)
        assert len(gateway.requests) == 34


async def test_a_secret_that_cannot_be_read_is_waited_for(tmp_path: Path) -> None:
    """A missing secret file is temporary; the message is sent then, with the new secret."""
    file, new = tmp_path / "token", tmp_path / "new"
    file.write_text("old")
    auth = BearerAuth(token_file=file)
    file.unlink()
    new.write_text("new")
    with Gateway(default=TAKEN_1) as gateway:
        async with sending_to(url_of(gateway), attempts=1, auth=auth) as sender:
            task = asyncio.create_task(sender.send(message()))
            done, _ = await asyncio.wait([task], timeout=0.3)
            new.replace(file)
            found = await asyncio.wait_for(task, DEADLINE)

    assert (done, found) == (set(), Outcome("204", 3, 0))
    assert gateway.last.headers["Authorization"] == "Bearer new"


async def test_whoever_cancels_stops_it_at_once() -> None:
    """In a try, and in the wait for the next one."""
    for answer in (Answer(hold=Hold()), Answer(503, headers={"Retry-After": "3600"})):
        with Gateway(answer, default=TAKEN_1) as gateway:
            async with sending_to(url_of(gateway)) as sender:
                task = asyncio.create_task(sender.send(message()))
                await gateway.arrived(1)
                await asyncio.wait([task], timeout=0.05)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.wait_for(task, DEADLINE)
            assert len(gateway.requests) == 1


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
                await sender.send(message())
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
