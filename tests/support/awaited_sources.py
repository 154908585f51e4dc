"""Asynchronous sources."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import pytest

from oracles import family


class Awaited:
    """A source whose ``collect`` is a coroutine function."""

    def __init__(self, answer: Callable[[], Any], name: str = "awaited", **options: Any) -> None:
        self.name = name
        self._answer = answer
        self.loops: list[asyncio.AbstractEventLoop] = []
        vars(self).update(options)

    async def collect(self) -> Iterable[Any]:
        """Await the families."""
        self.loops.append(asyncio.get_running_loop())
        items: Iterable[Any] = await self._answer()
        return items


class Generated(Awaited):
    """A source whose ``collect`` is an asynchronous generator."""

    async def collect(self) -> AsyncIterator[Any]:  # type: ignore[override]
        """Yield the items one by one."""
        self.loops.append(asyncio.get_running_loop())
        for item in await self._answer():
            await asyncio.sleep(0)
            if isinstance(item, BaseException):
                raise item
            yield item


BOTH = pytest.mark.parametrize("kind", [Awaited, Generated])


async def one() -> list[Any]:
    """Return one family."""
    return [family("x")]
