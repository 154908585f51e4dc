"""Serve a registry from another thread, while the test waits for a server that scrapes it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from aiohttp import web

from oracles import DEADLINE
from otel_aioprom import CollectorRegistry, Service


@contextmanager
def served(registry: CollectorRegistry, port: int) -> Iterator[None]:
    """Serve a registry on a port, in a thread with its own event loop."""
    ready, over = threading.Event(), threading.Event()

    async def serve() -> None:
        async with Service(registry).running(addr="127.0.0.1", port=port):
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(DEADLINE)
        yield
    finally:
        over.set()
        thread.join(DEADLINE)


@asynccontextmanager
async def running(app: web.Application) -> AsyncIterator[str]:
    """Serve an application of a user's; the value is its base URL."""
    server = web.AppRunner(app)
    await server.setup()
    try:
        await web.TCPSite(server, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{server.addresses[0][1]}"
    finally:
        await server.cleanup()
