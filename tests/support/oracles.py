"""Responses in the text format, checked by third-party parsers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from typing_extensions import Self

from otel_aioprom._core.labels import labels_text
from otel_aioprom._core.model import MetricFamily, Series
from otel_aioprom.collectors import Collector, Counter, Gauge, Histogram, Summary
from otel_aioprom.collectors.series.number import CounterSeries, GaugeSeries, NumberSeries
from otel_aioprom.formats import TextFormatter
from otel_aioprom.registry.faults import Fault
from otel_aioprom.registry.gathering import Gathering
from otel_aioprom.registry.registry import CollectorRegistry
from otel_aioprom.renderer import render
from otel_aioprom.service.messages import ScrapeRequest
from otel_aioprom.service.scrape import Scraper
from servers import check_with_promtool, find, parse_with_prometheus_client

DEADLINE = 30.0
OWN = "otel_aioprom_"
DROPPED = f"{OWN}dropped_total"
PROMTOOLS = ("promtool3", "promtool2")

Exposed = CollectorRegistry | Collector[Any] | MetricFamily


class TextReader:
    """Renders responses, and has third-party parsers check each of them.

    The parser of prometheus_client reads at once. ``promtool`` reads when the block ends, after the test's
    own asserts, for a test ends where it is missing.
    """

    def __init__(self) -> None:
        self._bodies: list[bytes] = []

    def __call__(self, *exposed: Exposed) -> str:
        """Render a registry, or collectors or families."""
        if isinstance(exposed[0], CollectorRegistry):
            return self.read(render(exposed[0])[0])
        families = [each.family() if isinstance(each, Collector) else each for each in exposed]
        return self.read(b"".join(TextFormatter(False).encode(families)))

    def read(self, body: bytes) -> str:
        """Check the body of a response, and return it as a string."""
        parse_with_prometheus_client(body)
        self._bodies.append(body)
        return body.decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            return
        for tool in sorted(PROMTOOLS, key=lambda name: find(name) is None):
            for body in dict.fromkeys(self._bodies):
                check_with_promtool(body, tool)


class FakeSource:
    """A source with the families that a test sets.

    Args:
        *items: What it yields; exceptions are raised.
        name: What logs call it.
    """

    def __init__(self, *items: MetricFamily | Fault | BaseException, name: str = "fake") -> None:
        self.name = name
        self.items: Iterable[MetricFamily | Fault | BaseException] = items

    def collect(self) -> Iterable[MetricFamily | Fault]:
        """Yield the items one by one."""
        for item in self.items:
            if isinstance(item, BaseException):
                raise item
            yield item


class HeldSource(FakeSource):
    """A source that returns when it is released."""

    def __init__(self, *items: MetricFamily, name: str = "held") -> None:
        super().__init__(*items, name=name)
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.runs = 0

    def collect(self) -> Iterable[MetricFamily | Fault]:
        """Wait, then return."""
        self.runs += 1
        self.begun.release()
        assert self.go.acquire(timeout=DEADLINE)
        return list(super().collect())

    async def wait_begun(self) -> None:
        """Wait until one more collection has begun."""
        assert await asyncio.to_thread(self.begun.acquire, timeout=DEADLINE)


async def until(condition: Callable[[], bool]) -> None:
    """Yield to the event loop until a condition is true."""

    async def poll() -> None:
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.005)

    await asyncio.wait_for(poll(), DEADLINE)


def wait_until_no_thread_is(name: str) -> None:
    """Wait until no thread has this name: those that are kept for the next call change it."""
    end = time.monotonic() + DEADLINE
    while any(thread.name == name for thread in threading.enumerate()):
        assert time.monotonic() < end
        time.sleep(0.005)  # between two polls


def number(
    value: float, labels: Mapping[str, str] | None = None, kind: type[NumberSeries] = GaugeSeries
) -> NumberSeries:
    """A series with a number."""
    pairs = sorted((labels or {}).items())
    names, values = tuple(name for name, _ in pairs), tuple(text for _, text in pairs)
    return kind(names, values, labels_text(pairs), value)


def family(
    name: str,
    *series: Series,
    kind: str = "gauge",
    doc: str = "",
    unit: str = "",
) -> MetricFamily:
    """A family; one series of the value 1 if none is given."""
    return MetricFamily(name, kind, doc, unit, list(series) or [number(1)])


def counter_family(name: str, value: float = 1) -> MetricFamily:
    """A counter's family."""
    return family(name, number(value, kind=CounterSeries), kind="counter")


def names_of(gathering: Gathering) -> list[str]:
    """Names of the families, the library's own not among them."""
    return [each.name for each in gathering.families if not each.name.startswith(OWN)]


def dropped(gathering: Gathering) -> dict[str, float]:
    """Cause → count, as in this response."""
    own = [each for each in gathering.families if each.name == DROPPED]
    return {one.values[0]: one.value for each in own for one in each.series}  # type: ignore[attr-defined]


def sample_lines(text: str) -> list[str]:
    """All lines but comments."""
    return [line for line in text.split("\n") if line and not line.startswith("#")]


def all_kinds(labels: dict[str, object] | None = None) -> CollectorRegistry:
    """A registry with a collector of each kind, one recording each."""
    registry = CollectorRegistry()
    Collector("any", "Untyped.", registry=registry).set_value(labels, 1)
    Counter("c_total", "Counts.", registry=registry).inc(labels)
    Gauge("g", "Level.", registry=registry).set(labels, -1.5)
    Histogram("h", "Sizes.", buckets=[1, 2], registry=registry).observe(labels, 1.5)
    Summary("s", "Times.", registry=registry).observe(labels, 2)
    return registry


class Answer(NamedTuple):
    """A response that has been read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes


async def answer_to(
    scraped: CollectorRegistry | Scraper, request: ScrapeRequest | None = None, **options: Any
) -> Answer:
    """Scrape, and read the complete response; by default without the endpoint's own metrics."""
    own = {"self_metrics": False, **options}
    scraper = scraped if isinstance(scraped, Scraper) else Scraper(scraped, **own)
    async with scraper.scrape(request or ScrapeRequest()) as response:
        body = b"".join([piece async for piece in response.pieces()])
        return Answer(response.status, response.headers, body)
