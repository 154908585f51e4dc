"""A push in several requests, and what comes back of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from gateway import Answer, Gateway
from oracles import FakeSource, family, number
from otel_aioprom._core.model import MetricFamily, Series
from otel_aioprom.errors import PushError
from otel_aioprom.formats import TextFormatter
from otel_aioprom.pusher import BlockingPusher, Pusher
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render
from pushed import QUICK, families_in, levels


async def test_a_replacement_in_batches_puts_and_then_posts() -> None:
    """All families arrive, each whole; the last response comes back."""
    registry = levels(1, 2, 3, 4)
    with Gateway(*[Answer(200 + place) for place in range(4)]) as gateway:
        response = await Pusher("j", gateway.url, max_batch_bytes=1).replace(registry)

    assert gateway.methods == ["PUT", "POST", "POST", "POST"]
    assert [families_in(each) for each in gateway.requests] == [{"a"}, {"b"}, {"c"}, {"d"}]
    assert {each.path for each in gateway.requests} == {"/metrics/job/j"}
    assert response.status == 203


async def test_an_addition_in_batches_posts() -> None:
    """As many families as fit go together."""
    registry = levels(1, 2, 3, 4)
    size = len(render(registry)[0]) // 4
    with Gateway() as gateway:
        await Pusher("j", gateway.url, max_batch_bytes=2 * size).add(registry)

    assert gateway.methods == ["POST", "POST"]
    assert [families_in(each) for each in gateway.requests] == [{"a", "b"}, {"c", "d"}]


async def test_a_failed_batch_is_retried_alone() -> None:
    """The others are not sent twice."""
    script = (Answer(), Answer(503), Answer(cut="answer"), Answer(), Answer(204))
    with Gateway(*script) as gateway:
        pusher = Pusher("j", gateway.url, max_batch_bytes=1, retry=QUICK)
        response = await pusher.replace(levels(1, 2, 3))

    assert response.status == 204
    assert gateway.methods == ["PUT", "POST", "POST", "POST", "POST"]
    assert [min(families_in(each)) for each in gateway.requests] == ["a", "b", "b", "b", "c"]


@pytest.mark.parametrize("raising", [False, True])
async def test_one_bad_batch_costs_itself_alone(raising: bool) -> None:
    """The others are sent; its refusal is what comes back, or the first one's of several."""
    script = (Answer(), Answer(400, "first"), Answer(), Answer(400, "second"), Answer())
    with Gateway(*script) as gateway:
        pusher = Pusher("j", gateway.url, max_batch_bytes=1, raise_for_status=raising)
        if raising:
            with pytest.raises(PushError, match="status 400: first"):
                await pusher.replace(levels(1, 2, 3, 4, 5))
        else:
            response = await pusher.replace(levels(1, 2, 3, 4, 5))
            assert (response.status, await response.text()) == (400, "first")

    assert [min(families_in(each)) for each in gateway.requests] == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("raising", [False, True])
@pytest.mark.parametrize("status", [301, 400, 500])
async def test_if_the_replacing_part_is_refused_nothing_else_is_sent(
    status: int, raising: bool
) -> None:
    """It would be mixed with what the group had."""
    with Gateway(Answer(status, "why")) as gateway:
        pusher = Pusher("j", gateway.url, max_batch_bytes=1, raise_for_status=raising)
        if raising:
            with pytest.raises(PushError, match=f"status {status}: why"):
                await pusher.replace(levels(1, 2, 3))
        else:
            response = await pusher.replace(levels(1, 2, 3))
            assert (response.status, await response.text()) == (status, "why")

    assert gateway.methods == ["PUT"]


@pytest.mark.parametrize("raising", [False, True])
async def test_of_an_addition_each_part_stands_for_itself(raising: bool) -> None:
    """The first one too."""
    with Gateway(Answer(400, "why")) as gateway:
        pusher = Pusher("j", gateway.url, max_batch_bytes=1, raise_for_status=raising)
        if raising:
            with pytest.raises(PushError, match="status 400: why"):
                await pusher.add(levels(1, 2, 3))
        else:
            assert (await pusher.add(levels(1, 2, 3))).status == 400

    assert gateway.methods == ["POST"] * 3


@pytest.mark.parametrize("answered", [0, 1, 2])
async def test_without_an_answer_the_rest_is_not_sent(answered: int) -> None:
    """Nobody is there to take it."""
    script = [*[Answer()] * answered, Answer(cut="answer")]
    with Gateway(*script) as gateway, pytest.raises(PushError, match="no response"):
        await Pusher("j", gateway.url, max_batch_bytes=1).replace(levels(1, 2, 3, 4))

    assert len(gateway.requests) == answered + 1


async def test_an_error_status_is_kept_when_the_server_becomes_unreachable() -> None:
    """The first error is the one that is raised."""
    with Gateway(Answer(), Answer(400, "why"), Answer(cut="answer")) as gateway:
        pusher = Pusher("j", gateway.url, max_batch_bytes=1, raise_for_status=True)
        with pytest.raises(PushError, match="status 400: why"):
            await pusher.replace(levels(1, 2, 3, 4))

    assert len(gateway.requests) == 3


# --- the thread that prepares ------------------------------------------------------------------


def registry_of(*families: MetricFamily) -> CollectorRegistry:
    """A registry with these families."""
    registry = CollectorRegistry()
    registry.add_source(FakeSource(*families))
    return registry


def labelled(*names: str) -> list[Series]:
    """A thousand series with these label names."""
    return [number(1, dict.fromkeys(names, str(each))) for each in range(1000)]


@pytest.mark.parametrize(
    ("families", "large"),
    [
        pytest.param([family(f"g{each}") for each in range(200)], True, id="many families"),
        pytest.param([family("a.b", *labelled("x"))], True, id="many series to escape"),
        pytest.param([family("g", *labelled("a.b", "a_b"))], True, id="label names that collide"),
        pytest.param([family("g", *labelled("x"))], False, id="many classic series"),
        pytest.param([family("a.b")], False, id="few"),
    ],
)
async def test_what_takes_long_to_prepare_is_prepared_in_a_thread(
    families: list[MetricFamily], large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a scrape; a blocking pusher, which may have no thread, prepares in its own."""
    threads: list[threading.Thread] = []
    prepare = TextFormatter.prepare

    def recorded(formatter: TextFormatter, collected: Sequence[MetricFamily]) -> Any:
        threads.append(threading.current_thread())
        return prepare(formatter, collected)

    monkeypatch.setattr(TextFormatter, "prepare", recorded)
    registry = registry_of(*families)
    with Gateway() as gateway:
        await Pusher("j", gateway.url).replace(registry)
        blocking = asyncio.to_thread(
            lambda: (threading.current_thread(), BlockingPusher("j", gateway.url).add(registry))
        )
        caller, _ = await blocking
    first, second = gateway.requests

    assert (threads[0] is not threading.current_thread(), threads[1:]) == (large, [caller])
    assert families_in(first) == families_in(second)
