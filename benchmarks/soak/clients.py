"""Clients of the soak, in a process of their own: ``python -m benchmarks.soak.clients BASE_URL``.

Scrapes in every format, plain and compressed; clients that leave in the middle, stop reading, show wrong
credentials or send nonsense. They end with their standard input, and print how many answers of each kind there were.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import aiohttp

from benchmarks.subjects import ACCEPT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

USER, PASSWORD = "soak", "secret"
OK = 200
PAUSE = 0.05
"""Seconds between two acts of a client."""
CREDENTIALS = {"Authorization": "Basic c29hazpzZWNyZXQ="}
_WRONG = {"Authorization": "Basic c29hazp3cm9uZw=="}
_GET = f"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: {CREDENTIALS['Authorization']}\r\n\r\n".encode()


class Load:
    """The clients' target, and what it has answered.

    Args:
        url: Of the service, without a path.

    Attributes:
        is_over: Whether to end.
        counts: Answers by kind of client.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_over = False
        self.counts: dict[str, int] = {}

    def note(self, kind: str) -> None:
        """Count an answer."""
        self.counts[kind] = self.counts.get(kind, 0) + 1

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection."""
        port = int(self.url.rpartition(":")[2])
        return await asyncio.open_connection("127.0.0.1", port, limit=1 << 16)


async def scrape(load: Load) -> None:
    """Ask in any format, with or without compression, and read it all."""
    name = random.choice(list(ACCEPT))  # noqa: S311 - no secret
    headers = {"Accept": ACCEPT[name], "Accept-Encoding": random.choice(["gzip", "identity"])}  # noqa: S311
    query = random.choice(["", "?name[]=soak_total"])  # noqa: S311
    async with aiohttp.ClientSession(headers=CREDENTIALS) as session:
        for _ in range(3):
            async with session.get(load.url + "/metrics" + query, headers=headers) as response:
                body = await response.read()
                load.note(f"{response.status}")
                if (
                    name == "openmetrics"
                    and response.status == OK
                    and not body.endswith(b"# EOF\n")
                ):
                    load.note("cut off")


async def wrong(load: Load) -> None:
    """Show wrong credentials, ask for what is not there."""
    async with aiohttp.ClientSession(headers=_WRONG) as session:
        for path in ("/metrics", "/nowhere"):
            async with session.get(load.url + path) as response:
                load.note(f"{response.status}")


async def leave(load: Load) -> None:
    """Go away in the middle of a response."""
    reader, writer = await load.connect()
    writer.write(_GET)
    await reader.read(random.choice([1, 1000, 100_000]))  # noqa: S311
    writer.transport.abort()
    load.note("left")


async def stop_reading(load: Load) -> None:
    """Ask again and again, and read nothing, until the connection is cut."""
    reader, writer = await load.connect()
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(_GET * 20)
    await asyncio.sleep(2.0)
    load.note("stopped reading")
    writer.transport.resume_reading()  # type: ignore[attr-defined]
    while await reader.read(1 << 20):
        pass
    writer.close()


async def nonsense(load: Load) -> None:
    """Send what is no request."""
    reader, writer = await load.connect()
    writer.write(random.randbytes(200) + b"\r\n\r\n")  # noqa: S311
    await reader.read(1000)
    writer.transport.abort()
    load.note("nonsense")


CLIENTS: tuple[Callable[[Load], Awaitable[None]], ...] = (
    scrape,
    scrape,
    wrong,
    leave,
    stop_reading,
    nonsense,
)


async def client(load: Load, act: Callable[[Load], Awaitable[None]]) -> None:
    """Act again and again; whatever the connection does is expected."""
    while not load.is_over:
        with suppress(OSError, aiohttp.ClientError, asyncio.TimeoutError):
            await asyncio.wait_for(act(load), 30)
        await asyncio.sleep(PAUSE)


async def main(url: str) -> None:
    """Run all clients."""
    load = Load(url)
    clients = [asyncio.create_task(client(load, act)) for act in CLIENTS]
    await asyncio.to_thread(sys.stdin.read)
    load.is_over = True
    await asyncio.gather(*clients)
    print(json.dumps(load.counts))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
