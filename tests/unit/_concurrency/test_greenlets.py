"""Event loops in greenlets of one thread. Here gevent is a fake; with the real one, programs are run elsewhere."""

from __future__ import annotations

import asyncio
import selectors
import sys
import threading
from asyncio import _get_running_loop, _set_running_loop
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import nullcontext
from types import ModuleType
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExportResult

from gateway import Gateway
from oracles import DEADLINE, family
from otel_aioprom._concurrency import greenlets
from otel_aioprom._concurrency.shared_future import run_in_new_loop, run_loop
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.pusher import BlockingPusher, job_metrics
from otel_aioprom.pusher.otel_exporter import PushMetricExporter
from otel_aioprom.registry import CollectorRegistry
from pushed import families_in


class Gevent:
    """What the library uses of gevent; greenlets are threads here, and one of them runs at a time."""

    def __init__(self) -> None:
        self.sleeps = 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Pretend that it has replaced threads."""
        gevent, monkey, selector = map(ModuleType, ("gevent", "gevent.monkey", "gevent.selectors"))
        parts: list[tuple[Any, str, Any]] = [
            (gevent, "sleep", self.sleep),
            (monkey, "is_module_patched", lambda name: name == "threading"),
            (monkey, "get_original", lambda module, name: getattr(sys.modules[module], name)),
            (gevent, "spawn", self.spawn),
            (selector, "GeventSelector", selectors.DefaultSelector),
        ]
        for module, name, value in parts:
            setattr(module, name, value)
            monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(greenlets, "_here", threading.local())

    def spawn(self, function: Callable[..., object], *arguments: object) -> None:
        """Call a function at once, which is early for a greenlet."""
        function(*arguments)

    def sleep(self, seconds: float) -> None:
        """Count the calls; others run anyway."""
        assert seconds == 0
        self.sleeps += 1


@pytest.fixture
def gevent(monkeypatch: pytest.MonkeyPatch) -> Gevent:
    """A program that gevent has patched."""
    fake = Gevent()
    fake.install(monkeypatch)
    return fake


@pytest.fixture
def other_loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[asyncio.AbstractEventLoop]:
    """The event loop of another greenlet, which waits for events: asyncio says that it runs in this thread."""
    loop = asyncio.new_event_loop()
    monkeypatch.setattr(loop, "_thread_id", -1)
    _set_running_loop(loop)
    try:
        yield loop
    finally:
        _set_running_loop(None)
        monkeypatch.undo()
        loop.close()


class Waiting:
    """An asynchronous source that waits."""

    name = "awaited"

    async def collect(self) -> list[MetricFamily]:
        """Yield to the event loop."""
        return [await asyncio.sleep(0.001, family("of_a_source"))]


def test_a_loop_in_the_same_thread_does_not_matter(
    gevent: Gevent, other_loop: asyncio.AbstractEventLoop
) -> None:
    """It may be that of another greenlet: pushes and collections have their own, and leave it as it is."""
    registry = CollectorRegistry()
    registry.add_source(Waiting())
    with Gateway() as gateway:
        assert BlockingPusher("j", gateway.url).add(registry).status == 200
        with job_metrics("j", gateway.url, registry):
            pass

    assert "of_a_source" in families_in(gateway.requests[0]) & families_in(gateway.last)
    assert gateway.last.value("job_success") == 1
    assert _get_running_loop() is other_loop


def test_a_loop_of_this_greenlet_is_one(gevent: Gevent) -> None:
    """In a coroutine nothing may block, with gevent neither; an exporter has a loop of its own meanwhile."""
    data = InMemoryMetricReader()
    MeterProvider([data]).get_meter("m").create_counter("c").add(1)

    async def main(gateway: Gateway) -> object:
        with pytest.raises(RuntimeError, match="block the event loop"):
            BlockingPusher("j", gateway.url).add(CollectorRegistry())
        metrics = data.get_metrics_data()
        assert metrics is not None
        return PushMetricExporter("j", gateway.url).export(metrics)

    with Gateway() as gateway:
        assert run_loop(main(gateway)) is MetricExportResult.SUCCESS
    assert _get_running_loop() is None


def test_while_a_loop_waits_its_thread_is_as_before(
    gevent: Gevent, other_loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other greenlets find the running loop that is theirs, and no hooks; afterwards it is the loop's turn again."""
    found: list[object] = []
    plain = selectors.DefaultSelector.select

    def select(self: Any, timeout: float | None = None) -> Any:
        found.append(_get_running_loop())
        hooks.append(sys.get_asyncgen_hooks().firstiter)
        return plain(self, timeout)

    async def main() -> list[object]:
        mine = asyncio.get_running_loop()
        numbers = [number async for number in count()]
        return [numbers, mine is asyncio.get_running_loop()]

    async def count() -> AsyncIterator[int]:
        for number in range(2):
            yield await asyncio.sleep(0.001, number)

    hooks: list[object] = []
    monkeypatch.setattr(selectors.DefaultSelector, "select", select)
    assert run_loop(main()) == [[0, 1], True]

    assert set(found) == {other_loop}
    assert set(hooks) == {None}


def test_a_loop_that_has_work_lets_others_run(gevent: Gevent) -> None:
    """In each of its iterations, though it waits for nothing."""

    async def work() -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    run_in_new_loop(work())

    assert gevent.sleeps >= 5


@pytest.mark.parametrize("error", [None, ValueError("bad"), KeyboardInterrupt()], ids=repr)
def test_what_a_loop_calls_in_a_thread_is_called_in_a_greenlet(
    gevent: Gevent, error: BaseException | None
) -> None:
    """Such as what resolves names: a thread would be waited for until it runs."""

    def function(number: int) -> int:
        if error is not None:
            raise error
        return number

    async def main() -> int:
        return await asyncio.get_running_loop().run_in_executor(None, function, 7)

    with nullcontext() if error is None else pytest.raises(type(error)):
        assert run_in_new_loop(main()) == 7


def test_one_loop_runs_callbacks_at_a_time(gevent: Gevent) -> None:
    """A callback of one that waits, in another greenlet than the loops, keeps the others from theirs."""
    turns = greenlets._Turns()
    inside, most, entered = 0, 0, threading.Barrier(3, timeout=DEADLINE)

    async def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            inside += 1
            most = max(most, inside)
            threading.Event().wait(0.0005)
            inside -= 1
            await asyncio.sleep(0)

    def greenlet() -> None:
        entered.wait()
        with turns.shared_loop() as loop:
            loop.run_until_complete(work())

    started = [threading.Thread(target=greenlet) for _ in range(3)]
    for each in started:
        each.start()
    for each in started:
        each.join(DEADLINE)

    assert not any(each.is_alive() for each in started)
    assert most == 1


def test_without_gevent_a_loop_is_one_of_asyncio() -> None:
    """Of the kind that the program has chosen."""
    with greenlets.event_loop() as loop:
        assert isinstance(loop, asyncio.AbstractEventLoop)
        assert not isinstance(loop._selector, Gevent)

    assert loop.is_closed()
