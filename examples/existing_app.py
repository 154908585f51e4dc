"""Metrics as a route of an existing aiohttp application.

Usage:
    python examples/existing_app.py [port]
"""

import sys

from aiohttp import web

from otel_aioprom import REGISTRY, Counter, Service

greetings = Counter("greetings_total", "Visitors greeted.", registry=REGISTRY)


async def hello(request: web.Request) -> web.Response:
    """Greet a visitor."""
    greetings.inc({"path": request.path})
    return web.Response(text="hello\n")


def make_app() -> web.Application:
    """Return the application. Its routes, middlewares and access rules stay unchanged."""
    app = web.Application()
    app.router.add_get("/", hello)
    app.router.add_get("/metrics", Service(REGISTRY).handle_metrics)
    return app


def main(port: int = 8080) -> None:
    """Serve until the program is stopped."""
    web.run_app(make_app(), host="127.0.0.1", port=port)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
