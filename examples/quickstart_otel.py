"""OpenTelemetry instruments, served to Prometheus.

Usage:
    python examples/quickstart_otel.py [port]
"""

import asyncio
import contextlib
import sys

from opentelemetry.sdk.metrics import MeterProvider

from otel_aioprom import CollectorRegistry, PrometheusMetricReader, Service


async def main(port: int = 9464) -> None:
    """Count one order, then serve the metrics until the program is stopped."""
    registry = CollectorRegistry()
    provider = MeterProvider(metric_readers=[PrometheusMetricReader(registry=registry)])
    orders = provider.get_meter("shop").create_counter("orders", unit="{order}")
    orders.add(1, {"paid": True})
    async with Service(registry).running(addr="127.0.0.1", port=port) as service:
        print(service.metrics_url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*map(int, sys.argv[1:])))
