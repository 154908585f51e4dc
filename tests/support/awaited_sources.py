"""Sources that are awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import pytest

from oracles import family


class Awaited:
    """A source that a coroutine function answers for."""

    def __init__(self, answer: Callable[[], Any], name: str = "awaited", **options: Any) -> None:
        self.name = name
        self._answer = answer
        self.loops: list[asyncio.AbstractEventLoop] = []
        vars(self).update(options)

    async def collect(self) -> Iterable[Any]:
        """Await the answer."""
        self.loops.append(asyncio.get_running_loop())
        items: Iterable[Any] = await self._answer()
        return items


class Generated(Awaited):
    """A source that an asynchronous generator answers for."""

    async def collect(self) -> AsyncIterator[Any]:  # type: ignore[override]
        """Give the items one by one."""
        self.loops.append(asyncio.get_running_loop())
        for item in await self._answer():
            await asyncio.sleep(0)
            if isinstance(item, BaseException):
                raise item
            yield item


BOTH = pytest.mark.parametrize("kind", [Awaited, Generated])


async def one() -> list[Any]:
    """Answer with one family."""
    return [family("x")]
