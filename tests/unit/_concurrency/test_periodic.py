"""Periodic background tasks: their interval, their shutdown, and SIGTERM; see test_sigterm.py for processes."""

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
from otel_aioprom._concurrency import sigterm
from otel_aioprom._concurrency.periodic import (
    FailureLogger,
    run_periodically,
    running_in_background,
)

LONG = 3600.0


class Calls:
    """Records the calls of a periodic task.

    Args:
        *seconds: How long each call takes; later ones take no time.
        last: What to await in the last call.
    """

    def __init__(
        self, *seconds: float, last: Callable[[], Awaitable[object]] | None = None
    ) -> None:
        self._seconds = list(seconds)
        self._last = last
        self.began: list[float] = []
        self.done = 0
        self.lasts = 0

    async def act(self) -> None:
        """A call."""
        self.began.append(asyncio.get_running_loop().time())
        if self._seconds:
            await asyncio.sleep(self._seconds.pop(0))
        self.done += 1

    async def last(self) -> None:
        """The last call."""
        self.lasts += 1
        if self._last is not None:
            await self._last()

    def start(self, interval: float = LONG, **options: Any) -> asyncio.Task[None]:
        """Start the task."""
        options = {"exit_timeout": DEADLINE, "on_sigterm": False, **options}
        return asyncio.create_task(run_periodically(self.act, self.last, interval, **options))


async def cancelled(task: asyncio.Task[None]) -> bool:
    """Cancel a task, and return whether it was cancelled."""
    task.cancel()
    await asyncio.wait([task], timeout=DEADLINE)
    return task.cancelled()


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Record signals that the process sends itself instead of sending them."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(sigterm.os, "kill", lambda *what: sent.append(what))
    monkeypatch.setattr(sigterm.os, "_exit", lambda status: None)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    return sent


# --- failure logs ------------------------------------------------------------------------------


def test_each_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """However often it fails or works in between."""
    caplog.set_level(logging.DEBUG, "otel_aioprom")
    failures = FailureLogger("pushes to h")
    failures.worked()
    for reason in ("first", "second", "third"):
        failures.failed(reason)
    failures.worked()
    failures.worked()
    failures.failed(ValueError("fourth"))

    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("WARNING", "pushes to h fail: first"),
        ("INFO", "pushes to h work again, after 3 that failed"),
        ("WARNING", "pushes to h fail: fourth"),
    ]


# --- calls -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["interval", "exit_timeout"])
@pytest.mark.parametrize("seconds", [0, -1, math.nan])
async def test_times_are_above_zero(name: str, seconds: float) -> None:
    """Otherwise nothing is called, not even at shutdown."""
    calls = Calls()
    with pytest.raises(ValueError, match=f"{name} must be a number of seconds above 0"):
        await calls.start(**{name: seconds})

    assert (calls.began, calls.lasts) == ([], 0)


async def test_the_first_call_is_at_once_and_others_follow() -> None:
    """None before its interval has passed."""
    calls = Calls()
    began = asyncio.get_running_loop().time()
    task = calls.start(0.05)
    await until(lambda: len(calls.began) >= 4)
    assert await cancelled(task)

    offsets = [each - began for each in calls.began]
    assert offsets[0] < 0.05
    assert all(offset >= place * 0.05 - 0.001 for place, offset in enumerate(offsets))


async def test_a_long_call_delays_the_next_one() -> None:
    """To the next multiple of the interval: calls neither overlap nor are caught up on."""
    calls = Calls(0.25)
    task = calls.start(0.1)
    await until(lambda: len(calls.began) >= 2)
    assert await cancelled(task)

    assert calls.began[1] - calls.began[0] >= 0.299


async def test_a_timer_that_fires_early_repeats_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each period has one call, also on a loop whose clock is coarser than its timers (uvloop: a millisecond)."""
    loop = asyncio.get_running_loop()
    call_later = loop.call_later

    def fire_early(delay: float, *arguments: Any, **options: Any) -> asyncio.TimerHandle:
        return call_later(max(0.0, delay - 0.02), *arguments, **options)

    calls = Calls()
    with monkeypatch.context() as patch:
        patch.setattr(loop, "call_later", fire_early)
        task = calls.start(0.1)
        await until(lambda: len(calls.began) >= 4)
        assert await cancelled(task)

    offsets = [each - calls.began[0] for each in calls.began]
    assert all(offset >= place * 0.1 - 0.03 for place, offset in enumerate(offsets))


async def test_the_last_call_comes_after_a_cancelled_call() -> None:
    """The current call is cancelled, the last one is made once, and the task ends as cancelled."""
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

    task = asyncio.create_task(run_periodically(act, last, 1, exit_timeout=5, on_sigterm=False))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert await cancelled(task)
    assert order == ["cancelled", "last"]


async def test_a_task_can_be_cancelled_between_two_calls() -> None:
    """It ends at once."""
    calls = Calls()
    task = calls.start()
    await until(lambda: calls.done == 1)

    assert await cancelled(task)
    assert (len(calls.began), calls.lasts) == (1, 1)


async def test_the_shutdown_has_a_timeout(caplog: pytest.LogCaptureFixture) -> None:
    """A last call that takes too long is cancelled, and that is logged."""
    calls = Calls(last=lambda: asyncio.sleep(LONG))
    task = calls.start(exit_timeout=0.05)
    await until(lambda: calls.done == 1)

    assert await cancelled(task)
    assert caplog.messages == ["the last call took more than 0.05 s and was given up"]


async def test_a_second_cancellation_cancels_the_last_call() -> None:
    """The task ends at once."""
    calls = Calls(last=lambda: asyncio.sleep(LONG))
    task = calls.start(exit_timeout=LONG)
    await until(lambda: calls.done == 1)
    task.cancel()
    await until(lambda: calls.lasts == 1)

    assert await cancelled(task)


@pytest.mark.parametrize("steps", range(6))
async def test_a_block_that_is_cancelled_leaves_no_task(steps: int) -> None:
    """Neither on entry, however far that has come, nor later."""
    calls = Calls()

    async def block() -> None:
        run = run_periodically(calls.act, calls.last, LONG, exit_timeout=DEADLINE, on_sigterm=False)
        async with running_in_background(run):
            await asyncio.sleep(LONG)

    before = asyncio.all_tasks()
    task = asyncio.ensure_future(block())
    for _ in range(steps):
        await asyncio.sleep(0)

    assert await cancelled(task)
    await asyncio.sleep(0)  # what is cancelled and not waited for ends
    assert asyncio.all_tasks() == before
    assert calls.lasts == (steps > 0)


# --- SIGTERM -----------------------------------------------------------------------------------


async def test_sigterm_ends_the_task_and_then_the_process(kills: list[tuple[int, int]]) -> None:
    """After the last call the handler is removed, and the process sends itself the signal again."""
    at_last: list[Any] = []

    async def last() -> None:
        at_last.append(list(kills))

    calls = Calls(last=last)
    task = calls.start(on_sigterm=True)
    await until(lambda: calls.done == 1)
    signal.raise_signal(signal.SIGTERM)
    await asyncio.wait_for(task, DEADLINE)

    assert at_last == [[]]
    assert kills == [(os.getpid(), signal.SIGTERM)]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_sigterm_cancels_the_current_call(kills: list[tuple[int, int]]) -> None:
    """It does not wait for it."""
    calls = Calls(LONG)
    task = calls.start(on_sigterm=True)
    await until(lambda: len(calls.began) == 1)
    signal.raise_signal(signal.SIGTERM)
    await asyncio.wait_for(task, DEADLINE)

    assert (calls.done, calls.lasts, len(kills)) == (0, 1, 1)


async def test_without_a_signal_the_process_goes_on(kills: list[tuple[int, int]]) -> None:
    """After a cancellation the signal has its default handler again."""
    calls = Calls()
    task = calls.start(on_sigterm=True)
    await until(lambda: calls.done == 1)
    assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL

    assert await cancelled(task)
    assert kills == []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_without_on_sigterm_no_handler_is_installed(kills: list[tuple[int, int]]) -> None:
    """The signal keeps its default handler."""
    calls = Calls()
    task = calls.start(on_sigterm=False)
    await until(lambda: calls.done == 1)

    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert await cancelled(task)


async def test_a_handler_of_the_application_stays(kills: list[tuple[int, int]]) -> None:
    """The signal does not end the task."""
    got: list[int] = []

    def handle(number: int, frame: Any) -> None:
        got.append(number)

    before = signal.signal(signal.SIGTERM, handle)
    try:
        calls = Calls()
        task = calls.start(on_sigterm=True)
        await until(lambda: calls.done == 1)
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
    """It is not removed at shutdown."""
    loop, got = asyncio.get_running_loop(), asyncio.Event()
    calls = Calls()
    task = calls.start(on_sigterm=True)
    await until(lambda: calls.done == 1)
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


async def test_all_tasks_make_their_last_call_before_the_process_ends(
    kills: list[tuple[int, int]],
) -> None:
    """However long it takes one of them."""
    hold = asyncio.Event()
    quick, slow = Calls(), Calls(last=hold.wait)
    for order in ((quick, slow), (slow, quick)):
        kills.clear()
        hold.clear()
        tasks = [calls.start(on_sigterm=True) for calls in order]
        await until(lambda: all(calls.done for calls in order))  # noqa: B023 - called at once
        for calls in order:
            calls.done = calls.lasts = 0
        signal.raise_signal(signal.SIGTERM)
        await until(lambda: any(calls.lasts for calls in order))  # noqa: B023
        await asyncio.wait(tasks, timeout=0.3)
        early = list(kills)
        hold.set()
        _, waiting = await asyncio.wait(tasks, timeout=1)
        both = [calls.lasts for calls in order]
        for task in waiting:
            assert await cancelled(task)

        assert early == []
        assert both == [1, 1]
        assert kills == [(os.getpid(), signal.SIGTERM)]


def test_other_threads_install_no_handler() -> None:
    """Only the main thread may."""
    calls = Calls()

    async def work() -> bool:
        task = calls.start(on_sigterm=True)
        await until(lambda: calls.done == 1)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        return await cancelled(task)

    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(asyncio.run(work())))
    thread.start()
    thread.join(DEADLINE)

    assert results == [True]
    assert calls.lasts == 1
