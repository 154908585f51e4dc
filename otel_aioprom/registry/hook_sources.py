"""Pre-collection hooks of collectors as sources without families, so that they run where user code may run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from otel_aioprom._concurrency.shared_future import MAX_WAIT
from otel_aioprom._concurrency.user_code import FAILURES, raise_if_exit, safe_repr
from otel_aioprom.collectors.base import Collector
from otel_aioprom.collectors.callbacks import Callback, Callbacks
from otel_aioprom.collectors.hooks import HookProblem, PreCollectHook
from otel_aioprom.registry.faults import Fault


class _HookSource:
    """A source that runs a hook of a collector.

    Args:
        name: Name of the collector.
        hook: The hook.
    """

    well_formed = True
    refreshes_only = True

    def __init__(self, name: str, hook: PreCollectHook) -> None:
        self.name = name
        self._run = hook.run
        self._callbacks: Any = hook.callbacks

    def hangs(self) -> bool:
        """Return whether a call goes on beyond its timeout, so that it is no use to wait for it again."""
        return self._callbacks is not None and self._callbacks.any_hangs()

    def any_missing(self) -> bool:
        """Return whether a callback has never returned a value, so that one is missing if the hook does not run."""
        return self._callbacks is not None and self._callbacks.any_missing()


class HookSource(_HookSource):
    """Runs a hook in the thread of its source runner."""

    def collect(self) -> list[Fault]:
        """Run the hook, and return what went wrong; see ``SupportsCollect``."""
        return _faults(self.name, () if self._run is None else self._run(self))


class AsyncHookSource(_HookSource):
    """Awaits the coroutine callbacks of a collector concurrently, each with its own timeout."""

    _callbacks: Callbacks

    @property
    def timeout(self) -> float:
        """Seconds for all together: the longest timeout of a callback, and one more so that each is late by itself."""
        timeouts = [callback.timeout for callback in self._callbacks.coroutine_callbacks()]
        return max(timeouts, default=0.0) + 1.0

    async def collect(self) -> list[Fault]:
        """Await the callbacks, and return what went wrong; see ``SupportsAsyncCollect``."""
        callbacks = self._callbacks.coroutine_callbacks()
        found = await asyncio.gather(*map(self._wait_for, callbacks), return_exceptions=True)
        # What is still raised is a cancellation that a callback has caused itself.
        problems = [
            self._callbacks.raised(callback, each) if isinstance(each, BaseException) else each
            for callback, each in zip(callbacks, found)
        ]
        return _faults(self.name, [problem for problem in problems if problem is not None])

    async def _wait_for(self, callback: Callback) -> HookProblem | None:
        loop_is_running = asyncio.get_running_loop().is_running
        waited = self._callbacks.await_callback(callback, self, loop_is_running)
        try:
            return await asyncio.wait_for(waited, min(callback.timeout, MAX_WAIT))
        except asyncio.TimeoutError:
            return self._callbacks.late(callback, f"took more than {callback.timeout} s")


class SweepSource:
    """Expires idle series: of all collectors in one call, for it is hardly ever user code.

    Attributes:
        collectors: Those whose series expire.
    """

    name = "expiry"
    well_formed = True
    refreshes_only = True

    def __init__(self) -> None:
        self.collectors: Sequence[Collector[Any]] = ()

    def collect(self) -> list[Fault]:
        """Sweep all collectors, and return which failed; see ``SupportsCollect``."""
        faults = []
        for collector in self.collectors:
            try:
                collector.expire_idle()
            except FAILURES as error:  # of a user's class
                raise_if_exit(error)
                reason = f"expiring its series raised {safe_repr(error)}; they stay exposed"
                faults.append(Fault("raised", collector.name, reason, lost=False, part="expiry"))
        return faults

    def hangs(self) -> bool:
        """Return false: it is the library's own work."""
        return False

    def any_missing(self) -> bool:
        """Return false: series that are not expired yet are exposed."""
        return False


def make_hook_source(name: str, hook: PreCollectHook) -> HookSource | AsyncHookSource:
    """Return the source that runs a hook."""
    return (AsyncHookSource if hook.run is None else HookSource)(name, hook)


def _faults(name: str, problems: Sequence[HookProblem]) -> list[Fault]:
    return [
        Fault(problem.cause, name, problem.message, problem.lost, part=problem.part)
        for problem in problems
    ]
