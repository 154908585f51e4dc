#!/usr/bin/env bash
# Subject    opentelemetry-instrumentation-asgi 0.66b1 (under FastAPI's and Starlette's), starlette 1.10.0
# Behaviour  A response without Content-Length, such as a stream, is counted with the size of the
#            response before it, whoever got that.
# Seen       /stream sends 10,000 bytes and is counted with 7, those of /short; first of all it is not counted
# Matters    http.server.response.size of a route that streams is that of other routes: neither its sum
#            nor its quantiles mean anything.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

packages venv opentelemetry-instrumentation-asgi==0.66b1 opentelemetry-sdk==1.45.1 starlette==1.10.0 httpx==0.28.1

seen=$(run_in venv - <<'PY'
import asyncio

import httpx
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route


async def short(request):
    return PlainTextResponse("7 bytes")


async def stream(request):
    async def pieces():
        for _ in range(10):
            yield b"x" * 1000

    return StreamingResponse(pieces())


async def sizes(*paths):
    reader = InMemoryMetricReader()
    app = Starlette(routes=[Route("/short", short), Route("/stream", stream)])
    app = OpenTelemetryMiddleware(app, meter_provider=MeterProvider(metric_readers=[reader]))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
        sent = [len((await client.get(path)).content) for path in paths]
    (scope,) = reader.get_metrics_data().resource_metrics[0].scope_metrics
    points = [p for m in scope.metrics if m.name == "http.server.response.size" for p in m.data.data_points]
    print(*paths, "sent", *sent, "counted", sum(point.sum for point in points))


asyncio.run(sizes("/stream"))
asyncio.run(sizes("/short", "/stream"))
PY
)
expect "a stream has the size of what came before" \
    '/stream sent 10000 counted 0
/short /stream sent 7 10000 counted 14' "$seen"
