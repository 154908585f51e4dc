"""Callbacks, interrupted at every single call, one test run after the other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from interruptions import AtCall, OnceIn, at_every_call
from otel_aioprom._concurrency.atomic import has_gil
from otel_aioprom.collectors import Gauge, callbacks
from otel_aioprom.registry import CollectorRegistry

pytestmark = pytest.mark.skipif(not has_gil(), reason="series have locks of their own")

DEADLINE = 10.0
L = {"f": "1"}


def within_callbacks(frame: FrameType) -> bool:
    """Return whether a frame is one of the callbacks module."""
    found: FrameType | None = frame
    while found is not None:
        if found.f_code.co_filename == callbacks.__file__:
            return True
        found = found.f_back
    return False


def registry_with() -> tuple[CollectorRegistry, Gauge]:
    """A registry with a gauge."""
    registry = CollectorRegistry()
    return registry, Gauge("x", "What.", registry=registry)


def replace(gauge: Gauge) -> None:
    """Replace the set of series by an empty one."""
    with gauge.replace():
        pass


async def three() -> int:
    """Return three."""
    return 3


def at_each_call(
    function: Callable[[], Any], act: Callable[[Gauge], object]
) -> Iterator[tuple[CollectorRegistry, Gauge]]:
    """Interrupt each call that stores a first value, one after the other, each time with a new registry."""
    number = 0
    done = True
    while done:
        registry, gauge = registry_with()
        gauge.set_function(L, function)
        at_call = AtCall(number, lambda gauge=gauge: act(gauge), within_callbacks)
        with at_every_call(at_call):
            registry.gather()
        done = at_call.done
        if done:
            yield registry, gauge
        number += 1
    assert number > 20


@pytest.mark.no_cover
@pytest.mark.parametrize("function", [lambda: 3, three], ids=["plain", "async"])
@pytest.mark.parametrize(
    "remove",
    [lambda gauge: gauge.remove(L), Gauge.clear, lambda gauge: gauge.remove_matching(L), replace],
    ids=["remove", "clear", "remove_matching", "replace"],
)
def test_a_removed_callback_exposes_nothing(remove: Any, function: Any) -> None:
    """Whenever it is removed."""
    for _, gauge in at_each_call(function, remove):
        assert gauge.get_all() == []


@pytest.mark.no_cover
def test_a_replaced_callback_does_not_hide_the_new_one() -> None:
    """Both have the same series, and the value of the new one wins."""
    for registry, gauge in at_each_call(lambda: 3, lambda gauge: gauge.set_function(L, three)):
        gauge.set_function(L, lambda: 4)
        registry.gather()

        assert gauge.get_all() == [(L, 4)]


@pytest.mark.no_cover
def test_what_is_recorded_after_a_removal_stays() -> None:
    """The new set has a series with these labels, whatever the old callback does."""

    def replace_by_five(gauge: Gauge) -> None:
        with gauge.replace() as fresh:
            fresh.set(L, 5)

    registry, gauge = registry_with()
    gauge.set(L, 1)
    gauge.set_function(L, lambda: 3)
    number, done = 0, True
    while done:
        at_call = AtCall(number, lambda: replace_by_five(gauge), within_callbacks)
        with at_every_call(at_call):
            registry.gather()
        done = at_call.done

        assert gauge.get_all() == [(L, 5 if done else 3)]
        gauge.set_function(L, lambda: 3)
        number += 1


@pytest.mark.no_cover
@pytest.mark.parametrize("function", [lambda: 3, three], ids=["plain", "async"])
def test_a_call_that_a_signal_handler_ends_is_over(function: Any) -> None:
    """At any step; the callback is called again."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    number, done = 0, True
    while done:
        registry, gauge = registry_with()
        gauge.set_function(L, function)
        at_call = AtCall(number, interrupt, within_callbacks)
        try:
            with at_every_call(at_call):
                registry.gather()
        except KeyboardInterrupt:
            pass
        done = at_call.done

        assert registry.gather().faults == []
        assert gauge.get_all() == [(L, 3)]
        number += 1


@pytest.mark.no_cover
def test_storing_a_value_holds_no_lock() -> None:
    """A garbage collection may run a finalizer that waits for another thread."""
    registry, gauge = registry_with()
    other = Gauge("y", "What.")
    other.set_function({}, lambda: 1)
    gauge.set_function(L, lambda: 3)
    clearing = threading.Thread(target=other.clear, daemon=True)

    def wait_for_another() -> None:
        clearing.start()
        clearing.join(DEADLINE)
        assert not clearing.is_alive()

    once = OnceIn("_create_for", wait_for_another)
    with at_every_call(once):
        faults = registry.gather().faults

    assert once.done
    assert faults == []
    assert gauge.get_all() == [(L, 3)]


@pytest.mark.no_cover
def test_of_concurrent_calls_one_is_made() -> None:
    """By two registries; the faster one wins."""
    calls: list[int] = []
    inside: list[int] = []
    at_once: list[int] = []

    async def function() -> int:
        calls.append(1)
        inside.append(1)
        at_once.append(len(inside))
        await asyncio.sleep(0)
        inside.pop()
        return len(calls)

    def ask() -> None:
        asyncio.run(second.async_gather(DEADLINE))

    number, done = 0, True
    while done:
        calls.clear()
        registry, gauge = registry_with()
        second = CollectorRegistry()
        second.register(gauge)
        gauge.set_function(L, function)
        thread = threading.Thread(target=ask)

        def meanwhile(thread: threading.Thread = thread) -> None:
            thread.start()
            thread.join(DEADLINE)

        at_call = AtCall(number, meanwhile, within_callbacks)
        with at_every_call(at_call):
            faults = registry.gather().faults
        done = at_call.done

        assert faults == []
        assert gauge.get_all() == [(L, len(calls))]
        assert set(at_once) == {1}
        number += 1


def test_no_lock_is_held_while_a_collector_returns_its_hooks() -> None:
    """A finalizer may collect, also on the event loop of another thread."""
    registry = CollectorRegistry()
    found: list[list[str]] = []

    def collect() -> None:
        gathering = asyncio.run(registry.async_gather(DEADLINE))
        found.append([each.name for each in gathering.families])

    class Interrupted(Gauge):
        def pre_collect_hooks(self) -> list[Any]:
            if not found and threading.current_thread() is threading.main_thread():
                thread = threading.Thread(target=collect, daemon=True)
                thread.start()
                thread.join(DEADLINE)
                assert not thread.is_alive()
            return super().pre_collect_hooks()

    Interrupted("x", "What.", registry=registry).set({}, 1)

    assert registry.gather().faults == []
    assert found == [["x"]]


def test_a_collector_that_is_deregistered_during_a_call_affects_no_successor() -> None:
    """With the same name."""
    registry, gauge = registry_with()
    gauge.set_function(L, lambda: 3)
    other = Gauge("x", "What.")
    other.set_function(L, lambda: 4)

    def exchange() -> None:
        registry.deregister("x")
        registry.register(other)

    once = OnceIn("_hook_runner", exchange)
    with at_every_call(once):
        registry.gather()
    registry.gather()

    assert once.done
    assert other.get_all() == [(L, 4)]
