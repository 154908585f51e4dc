"""The library's own collectors, served to Prometheus.

Usage:
    python examples/quickstart_native.py [port]
"""

import asyncio
import contextlib
import sys

from otel_aioprom import Counter, Histogram, Service

requests = Counter("http_requests_total", "Requests served.", const_labels={"app": "shop"})
latency = Histogram("http_request_duration_seconds", "Time to answer a request.")


async def main(port: int = 8000) -> None:
    """Record one request, then serve its metrics until the program is stopped."""
    service = Service()
    service.register(requests)
    service.register(latency)
    requests.inc({"path": "/"})
    latency.observe({"path": "/"}, 0.02)
    async with service.running(addr="127.0.0.1", port=port):
        print(service.metrics_url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*map(int, sys.argv[1:])))
