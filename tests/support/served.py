"""Serve a registry from another thread, while the test waits for a server that scrapes it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

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
