"""Native collectors and OpenTelemetry instruments in one registry.

Usage:
    python examples/both.py [port]
"""

import asyncio
import contextlib
import sys

from opentelemetry.sdk.metrics import MeterProvider

from otel_aioprom import CollectorRegistry, Counter, PrometheusMetricReader, Service, render

registry = CollectorRegistry()
jobs = Counter("jobs_total", "Jobs finished.", registry=registry)
provider = MeterProvider(metric_readers=[PrometheusMetricReader(registry=registry)])
depth = provider.get_meter("worker").create_up_down_counter("queue.depth")


async def main(port: int = 9464) -> None:
    """Record one value each, print one response, then serve until the program is stopped."""
    jobs.inc({"queue": "mail"})
    depth.add(3, {"queue": "mail"})
    body, _headers = render(registry, ["text/plain"])
    print(body.decode())
    async with Service(registry).running(addr="127.0.0.1", port=port) as service:
        print(service.metrics_url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*map(int, sys.argv[1:])))
