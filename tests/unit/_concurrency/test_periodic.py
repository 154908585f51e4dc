"""Doing something again and again: when, until when, and what signals do to it."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from oracles import DEADLINE, until
from otel_aioprom._concurrency import periodic
from otel_aioprom._concurrency.periodic import Watch, repeat

LONG = 3600.0


class Deeds:
    """What is done, and when.

    Args:
        lasting: How long each turn lasts; more of them last no time.
        last: What is done at last.
    """

    def __init__(
        self, *lasting: float, last: Callable[[], Awaitable[object]] | None = None
    ) -> None:
        self._lasting = list(lasting)
        self._last = last
        self.began: list[float] = []
        self.ended = 0
        self.lasts = 0

    async def act(self) -> None:
        """A turn."""
        self.began.append(asyncio.get_running_loop().time())
        if self._lasting:
            await asyncio.sleep(self._lasting.pop(0))
        self.ended += 1

    async def last(self) -> None:
        """The last one."""
        self.lasts += 1
        if self._last is not None:
            await self._last()

    def repeated(self, interval: float = LONG, **options: Any) -> asyncio.Task[None]:
        """Do it, in a task."""
        every = {"exit_timeout": DEADLINE, "on_sigterm": False, **options}
        return asyncio.create_task(repeat(self.act, self.last, interval, **every))


async def cancelled(task: asyncio.Task[None]) -> bool:
    """Cancel a task, and say whether it has ended as cancelled ones do."""
    task.cancel()
    await asyncio.wait([task], timeout=DEADLINE)
    return task.cancelled()


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Signals that the process sends, kept from it."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(periodic.os, "kill", lambda *what: sent.append(what))
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    return sent


# --- one line when it fails, one when it works again -------------------------------------------


def test_each_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """However often it fails or works in between."""
    caplog.set_level(logging.DEBUG, "otel_aioprom")
    watch = Watch("pushes to h")
    watch.worked()
    for reason in ("first", "second", "third"):
        watch.failed(reason)
    watch.worked()
    watch.worked()
    watch.failed(ValueError("fourth"))

    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("WARNING", "pushes to h fail: first"),
        ("INFO", "pushes to h work again, after 3 that failed"),
        ("WARNING", "pushes to h fail: fourth"),
    ]


# --- turns -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["interval", "exit_timeout"])
@pytest.mark.parametrize("seconds", [0, -1, math.nan])
async def test_times_are_above_zero(name: str, seconds: float) -> None:
    """Nothing is done otherwise, not even at last."""
    deeds = Deeds()
    with pytest.raises(ValueError, match=f"{name} must be a number of seconds above 0"):
        await deeds.repeated(**{name: seconds})

    assert (deeds.began, deeds.lasts) == ([], 0)


async def test_the_first_turn_is_at_once_and_others_follow() -> None:
    """None before its time."""
    deeds = Deeds()
    began = asyncio.get_running_loop().time()
    task = deeds.repeated(0.05)
    await until(lambda: len(deeds.began) >= 4)
    assert await cancelled(task)

    offsets = [each - began for each in deeds.began]
    assert offsets[0] < 0.05
    assert all(offset >= place * 0.05 - 0.001 for place, offset in enumerate(offsets))


async def test_a_turn_that_takes_too_long_makes_others_wait() -> None:
    """Until the next multiple of the interval: turns neither overlap nor are they made up for."""
    deeds = Deeds(0.25)
    task = deeds.repeated(0.1)
    await until(lambda: len(deeds.began) >= 2)
    assert await cancelled(task)

    assert deeds.began[1] - deeds.began[0] >= 0.299


async def test_what_is_done_at_last_comes_after_a_cancelled_turn() -> None:
    """The turn under way ends at once, the last one is done once, and the task ends as cancelled."""
    order: list[str] = []

    async def act() -> None:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            order.append("cancelled")
            raise

    async def last() -> None:
        await asyncio.sleep(0.01)
        order.append("last")

    task = asyncio.create_task(repeat(act, last, 1, exit_timeout=5, on_sigterm=False))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert await cancelled(task)
    assert order == ["cancelled", "last"]


async def test_it_ends_between_two_turns_too() -> None:
    """At once."""
    deeds = Deeds()
    task = deeds.repeated()
    await until(lambda: deeds.ended == 1)

    assert await cancelled(task)
    assert (len(deeds.began), deeds.lasts) == (1, 1)


async def test_the_way_out_has_an_end(caplog: pytest.LogCaptureFixture) -> None:
    """A last turn that takes too long is given up, and that is logged."""
    deeds = Deeds(last=lambda: asyncio.sleep(LONG))
    task = deeds.repeated(exit_timeout=0.05)
    await until(lambda: deeds.ended == 1)

    assert await cancelled(task)
    assert caplog.messages == ["the last turn took more than 0.05 s and was given up"]


async def test_who_cancels_twice_does_not_wait_for_the_last_turn() -> None:
    """The second time means now."""
    deeds = Deeds(last=lambda: asyncio.sleep(LONG))
    task = deeds.repeated(exit_timeout=LONG)
    await until(lambda: deeds.ended == 1)
    task.cancel()
    await until(lambda: deeds.lasts == 1)

    assert await cancelled(task)


# --- SIGTERM -----------------------------------------------------------------------------------


async def test_sigterm_ends_it_and_has_its_way_then(kills: list[tuple[int, int]]) -> None:
    """The last turn is done, the handler is taken away, and the process gets the signal once more."""
    at_last: list[Any] = []

    async def last() -> None:
        at_last.append(list(kills))

    deeds = Deeds(last=last)
    task = deeds.repeated(on_sigterm=True)
    await until(lambda: deeds.ended == 1)
    signal.raise_signal(signal.SIGTERM)
    await asyncio.wait_for(task, DEADLINE)

    assert at_last == [[]]
    assert kills == [(os.getpid(), signal.SIGTERM)]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_sigterm_ends_a_turn_under_way(kills: list[tuple[int, int]]) -> None:
    """It does not wait for it."""
    deeds = Deeds(LONG)
    task = deeds.repeated(on_sigterm=True)
    await until(lambda: len(deeds.began) == 1)
    signal.raise_signal(signal.SIGTERM)
    await asyncio.wait_for(task, DEADLINE)

    assert (deeds.ended, deeds.lasts, len(kills)) == (0, 1, 1)


async def test_without_a_signal_the_process_goes_on(kills: list[tuple[int, int]]) -> None:
    """When it is cancelled, the signal means what it meant before."""
    deeds = Deeds()
    task = deeds.repeated(on_sigterm=True)
    await until(lambda: deeds.ended == 1)
    assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL

    assert await cancelled(task)
    assert kills == []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_sigterm_is_left_alone_where_that_is_asked_for(kills: list[tuple[int, int]]) -> None:
    """Nothing is set."""
    deeds = Deeds()
    task = deeds.repeated(on_sigterm=False)
    await until(lambda: deeds.ended == 1)

    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert await cancelled(task)


async def test_a_handler_of_the_application_stays(kills: list[tuple[int, int]]) -> None:
    """Its signal ends nothing here."""
    got: list[int] = []

    def handle(number: int, frame: Any) -> None:
        got.append(number)

    before = signal.signal(signal.SIGTERM, handle)
    try:
        deeds = Deeds()
        task = deeds.repeated(on_sigterm=True)
        await until(lambda: deeds.ended == 1)
        signal.raise_signal(signal.SIGTERM)
        await until(lambda: bool(got))
        assert not task.done()
        assert await cancelled(task)
        assert signal.getsignal(signal.SIGTERM) is handle
    finally:
        signal.signal(signal.SIGTERM, before)

    assert kills == []


async def test_a_handler_that_the_application_sets_later_stays_too(
    kills: list[tuple[int, int]],
) -> None:
    """It is not taken away on the way out."""
    loop, got = asyncio.get_running_loop(), asyncio.Event()
    deeds = Deeds()
    task = deeds.repeated(on_sigterm=True)
    await until(lambda: deeds.ended == 1)
    loop.add_signal_handler(signal.SIGTERM, got.set)
    try:
        os_signal = signal.getsignal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        await asyncio.wait_for(got.wait(), DEADLINE)
        assert not task.done()
        assert await cancelled(task)
        assert signal.getsignal(signal.SIGTERM) is os_signal
    finally:
        loop.remove_signal_handler(signal.SIGTERM)

    assert kills == []


async def test_all_have_their_last_turn_before_the_process_ends(
    kills: list[tuple[int, int]],
) -> None:
    """However many there are, and however long it takes one of them."""
    hold = asyncio.Event()
    quick, slow = Deeds(), Deeds(last=hold.wait)
    for order in ((quick, slow), (slow, quick)):
        kills.clear()
        hold.clear()
        tasks = [deeds.repeated(on_sigterm=True) for deeds in order]
        await until(lambda: all(deeds.ended for deeds in order))  # noqa: B023 - called at once
        for deeds in order:
            deeds.ended = deeds.lasts = 0
        signal.raise_signal(signal.SIGTERM)
        await until(lambda: any(deeds.lasts for deeds in order))  # noqa: B023
        await asyncio.wait(tasks, timeout=0.3)
        early = list(kills)
        hold.set()
        _, waiting = await asyncio.wait(tasks, timeout=1)
        both = [deeds.lasts for deeds in order]
        for task in waiting:
            assert await cancelled(task)

        assert early == []
        assert both == [1, 1]
        assert kills == [(os.getpid(), signal.SIGTERM)]


def test_other_threads_take_no_signals() -> None:
    """Only the main thread may, so that elsewhere there is no difference."""
    deeds = Deeds()

    async def work() -> bool:
        task = deeds.repeated(on_sigterm=True)
        await until(lambda: deeds.ended == 1)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        return await cancelled(task)

    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(asyncio.run(work())))
    thread.start()
    thread.join(DEADLINE)

    assert results == [True]
    assert deeds.lasts == 1
