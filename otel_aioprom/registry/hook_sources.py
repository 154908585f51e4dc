"""What collectors need before each collection, as sources without families: done where user code may run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from otel_aioprom._concurrency.shared_future import LONGEST
from otel_aioprom.collectors.callbacks import Asked, Functions
from otel_aioprom.collectors.hooks import Chore, Problem
from otel_aioprom.registry.faults import Fault


class Upkeep:
    """Does a chore of a collector in a worker thread.

    Args:
        name: The collector's.
        chore: What is to be done.
    """

    well_formed = True
    upkeep = True

    def __init__(self, name: str, chore: Chore) -> None:
        self.name = name
        self._run = chore.run
        self._functions: Functions | None = chore.functions

    def hangs(self) -> bool:
        """Tell whether a call takes longer than it may, so that there is no use in waiting for it again."""
        return self._functions is not None and self._functions.hang()

    def lacks_any(self) -> bool:
        """Tell whether a value has never been there, so that it is missing where nothing is asked."""
        return self._functions is not None and self._functions.lacks_any()

    def collect(self) -> list[Fault]:
        """Do it, and tell what went wrong; see ``SupportsCollect``."""
        return _faults(self.name, () if self._run is None else self._run(self))


class AsyncUpkeep:
    """Awaits the coroutine functions of a collector, all at once, and gives each its time.

    Args:
        name: The collector's.
        functions: Its functions.
    """

    well_formed = True
    upkeep = True

    def __init__(self, name: str, functions: Functions) -> None:
        self.name = name
        self._functions = functions

    @property
    def timeout(self) -> float:
        """Seconds that all together get: those of the slowest, and one to be awaited in."""
        return max([asked.timeout for asked in self._functions.to_await()], default=0.0) + 1.0

    def hangs(self) -> bool:
        """Tell whether a call goes on though its time is over."""
        return self._functions.hang()

    def lacks_any(self) -> bool:
        """Tell whether a value has never been there, so that it is missing where nothing is awaited."""
        return self._functions.lacks_any()

    async def collect(self) -> list[Fault]:
        """Await them, and tell what went wrong; see ``SupportsAsyncCollect``."""
        every = self._functions.to_await()
        found = await asyncio.gather(*map(self._wait_for, every), return_exceptions=True)
        # What is still raised is a cancellation that a function has brought about itself.
        problems = [
            self._functions.raised(asked, each) if isinstance(each, BaseException) else each
            for asked, each in zip(every, found)
        ]
        return _faults(self.name, [problem for problem in problems if problem is not None])

    async def _wait_for(self, asked: Asked) -> Problem | None:
        goes_on = asyncio.get_running_loop().is_running
        waited = self._functions.await_one(asked, self, goes_on)
        try:
            return await asyncio.wait_for(waited, min(asked.timeout, LONGEST))
        except asyncio.TimeoutError:
            return self._functions.late(asked, f"took more than {asked.timeout} s")


def make_upkeep(name: str, chore: Chore) -> Upkeep | AsyncUpkeep:
    """Return a source that does a chore."""
    return AsyncUpkeep(name, chore.functions) if chore.run is None else Upkeep(name, chore)


def _faults(name: str, problems: Sequence[Problem]) -> list[Fault]:
    return [
        Fault(problem.cause, name, problem.message, problem.lost, part=problem.part)
        for problem in problems
    ]
