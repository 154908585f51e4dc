"""A server that takes what is pushed and throws it away: ``python -m benchmarks.sink``.

Prints its port, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web

HOST = "127.0.0.1"
_WRITTEN = {"X-Prometheus-Remote-Write-Samples-Written": "1000000"}


async def take(request: web.BaseRequest) -> web.StreamResponse:
    """Read a body to its end and answer as a Pushgateway does, or as a receiver of remote write."""
    async for _ in request.content.iter_any():
        pass
    if request.path.endswith("/write"):
        return web.Response(status=204, headers=_WRITTEN)
    return web.Response()


async def main() -> None:
    """Serve until nobody needs it any more."""
    runner = web.ServerRunner(web.Server(take, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
