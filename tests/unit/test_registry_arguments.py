"""A registry that is none is refused by whoever gets it, when it gets it, with what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import prometheus_client
import pytest

from otel_aioprom import (
    BlockingPusher,
    CollectorRegistry,
    Counter,
    PrometheusMetricReader,
    Pusher,
    RemoteWriter,
    Service,
    ThreadedService,
    asgi,
    async_render,
    job_metrics,
    process_metrics,
    render,
    write_textfile,
    wsgi,
)
from otel_aioprom.formats import BinaryFormatter, OpenMetricsFormatter, TextFormatter

GATEWAY = "http://127.0.0.1:9"  # nothing is sent


def in_loop(use: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Await what a use returns, in an event loop of its own."""

    def run(registry: Any) -> Any:
        async def main() -> Any:
            return await use(registry)

        return asyncio.run(main())

    return run


def entered(use: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Enter the asynchronous context manager that a use returns."""

    def run(registry: Any) -> Any:
        async def main() -> None:
            async with use(registry):
                raise AssertionError("it was entered")

        return asyncio.run(main())

    return run


async def app(*_: Any) -> None:
    """An application behind a middleware."""


def written(registry: Any) -> Any:
    """Write a registry with an open remote writer."""

    async def main() -> None:
        async with RemoteWriter(GATEWAY) as writer:
            await writer.write(registry)

    return asyncio.run(main())


USES: dict[str, Callable[[Any], Any]] = {
    "Service": Service,
    "Service.add_endpoint": lambda registry: Service().add_endpoint("/more", registry),
    "ThreadedService": ThreadedService,
    "asgi.MetricsApp": asgi.MetricsApp,
    "asgi.MetricsMiddleware": lambda registry: asgi.MetricsMiddleware(app, registry),
    "wsgi.MetricsApp": wsgi.MetricsApp,
    "wsgi.MetricsMiddleware": lambda registry: wsgi.MetricsMiddleware(app, registry),  # type: ignore[arg-type]
    "render": render,
    "async_render": in_loop(async_render),
    "TextFormatter.marshall": TextFormatter().marshall,
    "OpenMetricsFormatter.marshall": OpenMetricsFormatter().marshall,
    "BinaryFormatter.marshall": BinaryFormatter().marshall,
    "write_textfile": lambda registry: write_textfile(registry, Path("never_written.prom")),
    "Pusher.add": in_loop(lambda registry: Pusher("j", GATEWAY).add(registry)),
    "Pusher.replace": in_loop(lambda registry: Pusher("j", GATEWAY).replace(registry)),
    "Pusher.delete": in_loop(lambda registry: Pusher("j", GATEWAY).delete(registry)),
    "Pusher.run": in_loop(lambda registry: Pusher("j", GATEWAY).run(registry)),
    "Pusher.running": entered(lambda registry: Pusher("j", GATEWAY).running(registry)),
    "BlockingPusher.add": lambda registry: BlockingPusher("j", GATEWAY).add(registry),
    "BlockingPusher.replace": lambda registry: BlockingPusher("j", GATEWAY).replace(registry),
    "job_metrics": lambda registry: job_metrics("j", GATEWAY, registry),
    "RemoteWriter.write": written,
    "RemoteWriter.run": in_loop(lambda registry: RemoteWriter(GATEWAY).run(registry)),
    "RemoteWriter.running": entered(lambda registry: RemoteWriter(GATEWAY).running(registry)),
    "process_metrics": process_metrics,
    "PrometheusMetricReader": lambda registry: PrometheusMetricReader(registry=registry),
    "Counter": lambda registry: Counter("x_total", "What.", registry=registry),
}
WRONG = {
    "a string": "nope",
    "an empty string": "",
    "a class": CollectorRegistry,
    "a list": [],
    "a counter": Counter("y_total", "What."),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_what_is_no_registry_is_refused_by_whoever_gets_it(
    use: Callable[[Any], Any], wrong: Any
) -> None:
    """With a ``TypeError`` that names the argument, rather than at a scrape or a push, or never."""
    with pytest.raises(TypeError, match=r"registry must be a CollectorRegistry.*, not "):
        use(wrong)


@pytest.mark.parametrize("use", [each for name, each in USES.items() if name != "Counter"])
def test_the_registry_of_another_library_is_refused(use: Callable[[Any], Any]) -> None:
    """The message says whose registry it must be, since both classes have one name."""
    with pytest.raises(TypeError, match=r"CollectorRegistry of otel_aioprom, not .*prometheus_cl"):
        use(prometheus_client.CollectorRegistry())
