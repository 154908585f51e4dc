"""Push a registry to a Pushgateway, or a server with the same API."""

from __future__ import annotations

import asyncio
import dataclasses
import warnings
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from time import monotonic, perf_counter, time
from typing import TYPE_CHECKING, Literal, TypedDict

from aiohttp import hdrs

from otel_aioprom._concurrency.periodic import (
    FailureLogger,
    check_intervals,
    run_periodically,
    running_in_background,
)
from otel_aioprom._concurrency.thread_pool import own_threads
from otel_aioprom._transport.delivery import (
    Delivery,
    DeliveryOptions,
    is_success,
    redacted,
    refused,
)
from otel_aioprom._transport.retry import ONCE, Retry
from otel_aioprom.errors import PushError
from otel_aioprom.formats import IFormatter
from otel_aioprom.formats.protobuf_push import PushFormatter
from otel_aioprom.formats.text import RelayedTextFormatter
from otel_aioprom.pusher.batches import bodies
from otel_aioprom.pusher.grouping import check_group, group_path, join_url
from otel_aioprom.registry.registry import CollectorRegistry, check_registry
from otel_aioprom.renderer import DEFAULT_TIMEOUT, is_large

if TYPE_CHECKING:
    import aiohttp
    from typing_extensions import Self, Unpack

    from otel_aioprom._core.model import MetricFamily
    from otel_aioprom.registry.gathering import Gathering


class PusherOptions(DeliveryOptions, total=False):
    """The options of ``Pusher``, for the signatures of callers that pass them on."""

    grouping_key: Mapping[str, str] | None
    path: str | None
    compression: Literal["gzip"] | None
    format: Literal["text", "protobuf"]
    max_batch_bytes: int | None
    gather_timeout: float


class RunOptions(TypedDict, total=False):
    """The options of ``Pusher.run``."""

    method: Literal["replace", "add"]
    delete_on_exit: bool
    exit_timeout: float
    on_sigterm: bool


_MIN_TIMEOUT = 0.001  # seconds
_FORMATTERS: dict[str, type[IFormatter]] = {"text": RelayedTextFormatter, "protobuf": PushFormatter}


class Pusher:
    """Push registries to one group of a Pushgateway.

    Can be used with or without ``async with``; inside, all pushes share one connection.

    Args:
        job_name: The ``job`` label of the group.
        addr: URL of the gateway, ``http://…`` or ``https://…``; may end with a path prefix.
        loop: Deprecated and ignored. A mapping is the grouping key, which has this place in aioprometheus 23.
        grouping_key: Further labels of the group.
        path: Path of the group with ``{0}`` for the job; ``/metrics/job/{0}`` if not given. Without ``{0}`` the
            group's labels go into the query, as for VictoriaMetrics' import.
        compression: ``"gzip"``, or ``None`` for no compression.
        format: ``"text"`` (0.0.4), or ``"protobuf"``, which also transfers native histograms and exemplars.
        max_batch_bytes: Split a push into requests of at most this many bytes before compression. A larger family
            has a request of its own.
        gather_timeout: Timeout of the registry's sources, in seconds; sources that are late are skipped.
        **options: As for ``delivery.Delivery``: ``auth``, ``ssl``, ``timeout``, ``headers``, ``session``, ``retry``,
            ``raise_for_status``.

    Raises:
        ValueError: An option has an invalid value, ``addr`` is no URL of a server, or the job is empty.
        TypeError: The third argument is neither a mapping nor a loop, or there are two grouping keys.
        InvalidLabelsError: A label name of the grouping key is invalid.

    Spec:
        N18, E81 to E91.

    Examples:
        >>> pusher = Pusher("nightly", "http://localhost:9091", grouping_key={"instance": "a/b"})
        >>> pusher.url
        'http://localhost:9091/metrics/job/nightly/instance@base64/YS9i'
    """

    PATH = "/metrics/job/{0}"

    def __init__(
        self,
        job_name: str,
        addr: str,
        loop: asyncio.AbstractEventLoop | Mapping[str, str] | None = None,
        *,
        grouping_key: Mapping[str, str] | None = None,
        path: str | None = None,
        compression: Literal["gzip"] | None = None,
        format: Literal["text", "protobuf"] = "text",  # noqa: A002 - the usual word
        max_batch_bytes: int | None = None,
        gather_timeout: float = DEFAULT_TIMEOUT,
        **options: Unpack[DeliveryOptions],
    ) -> None:
        if isinstance(loop, Mapping):
            if grouping_key is not None:
                raise TypeError("there are two grouping keys: remove the third argument")
            grouping_key = loop
        elif isinstance(loop, asyncio.AbstractEventLoop):
            message = "Pusher uses the running event loop; remove the argument loop"
            warnings.warn(message, DeprecationWarning, stacklevel=2)
        elif loop is not None:
            raise TypeError(f"the third argument must be a grouping key, not {loop!r}")
        if compression not in {None, "gzip"}:
            raise ValueError(f"compression must be 'gzip' or None, not {compression!r}")
        if format not in _FORMATTERS:
            raise ValueError(f"format must be 'text' or 'protobuf', not {format!r}")
        if max_batch_bytes is not None and max_batch_bytes < 1:
            raise ValueError(f"max_batch_bytes must be 1 or more, not {max_batch_bytes!r}")
        if not gather_timeout > 0:
            raise ValueError(f"gather_timeout must be above 0 s, not {gather_timeout!r}")
        group = check_group(job_name, grouping_key or {})
        self._url = join_url(addr, group_path(path or self.PATH, group))
        self._destination = redacted(self._url.origin())
        self._formatter = _FORMATTERS[format]()
        self._coding = compression
        self._limit = max_batch_bytes
        self._gather_timeout = gather_timeout
        self._retry = options.get("retry")
        self._delivery = Delivery(**options)
        self._delivery.check_target(self._url)

    @property
    def url(self) -> str:
        """URL of the group, without credentials."""
        return redacted(self._url)

    async def __aenter__(self) -> Self:
        await self._delivery.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; a second call does nothing, and the next push opens a new one."""
        await self._delivery.close()

    async def add(
        self, registry: CollectorRegistry, *, retry: Retry | None = None
    ) -> aiohttp.ClientResponse:
        """Push a registry; the group's other metrics stay.

        Args:
            registry: Registry to collect and push.
            retry: Retry policy, instead of that of the constructor.

        Returns:
            The response, its body read: of several requests, the first one with an error status, else the last one.

        Raises:
            TypeError: ``registry`` is no registry.
            PushError: There was no response; or it has an error status, and ``raise_for_status`` is set.
        """
        return await self._push((hdrs.METH_POST,), registry, retry)

    async def replace(
        self, registry: CollectorRegistry, *, retry: Retry | None = None
    ) -> aiohttp.ClientResponse:
        """Push a registry, and replace all metrics of the group; otherwise as ``add``.

        With ``max_batch_bytes`` this is not atomic: the first request replaces, the others add to it. If the first
        one fails, the others are not sent.
        """
        return await self._push((hdrs.METH_PUT, hdrs.METH_POST), registry, retry)

    async def delete(
        self, registry: CollectorRegistry | None = None, *, retry: Retry | None = None
    ) -> aiohttp.ClientResponse:
        """Delete the group.

        Args:
            registry: Registry whose self-metrics count the request, if given.
            retry: Retry policy, instead of that of the constructor.

        Returns:
            The response; 202 also for a group that does not exist.

        Raises:
            TypeError: ``registry`` is no registry.
            PushError: As for ``add``.
        """
        if registry is not None:
            check_registry(registry)
        return await self._send(hdrs.METH_DELETE, registry, [], retry)

    async def run(
        self,
        registry: CollectorRegistry,
        interval: float = 15.0,
        *,
        method: Literal["replace", "add"] = "replace",
        delete_on_exit: bool = False,
        exit_timeout: float = 5.0,
        on_sigterm: bool = True,
    ) -> None:
        """Push now, then every ``interval`` seconds until the task is cancelled, and once more on exit.

        Failed pushes are counted and do not end the task; a message is logged when pushes begin to fail, and when they
        work again. Without ``retry``, each push is retried for the interval or ``timeout``, whichever is longer.

        Args:
            registry: Registry to push.
            interval: Seconds from one push to the next.
            method: ``"replace"`` or ``"add"``.
            delete_on_exit: Delete the group on exit, instead of the last push.
            exit_timeout: Timeout of the shutdown, in seconds.
            on_sigterm: Also push on ``SIGTERM``, if the application does not handle that signal.

        Raises:
            TypeError: ``registry`` is no registry.
            ValueError: An option has an invalid value.
        """
        check_registry(registry)
        _check_run(interval, method, exit_timeout)
        push = self.replace if method == "replace" else self.add
        retry = self._retry or Retry(total=max(interval, self._delivery.timeout))
        failure_log = FailureLogger(f"pushes to {self._destination}")

        async def act() -> None:
            await _log_failure(push(registry, retry=retry), failure_log)

        async def last() -> None:
            final = self.delete(registry) if delete_on_exit else push(registry)
            await _log_failure(final, failure_log)

        async with self._delivery.opened():
            await run_periodically(
                act, last, interval, exit_timeout=exit_timeout, on_sigterm=on_sigterm
            )

    @asynccontextmanager
    async def running(
        self, registry: CollectorRegistry, interval: float = 15.0, **options: Unpack[RunOptions]
    ) -> AsyncIterator[Self]:
        """Run in the background for the block; arguments and errors as for ``run``."""
        check_registry(registry)
        _check_run(interval, options.get("method", "replace"), options.get("exit_timeout", 1.0))
        async with running_in_background(self.run(registry, interval, **options)):
            yield self

    async def _push(
        self, methods: tuple[str, ...], registry: CollectorRegistry, retry: Retry | None
    ) -> aiohttp.ClientResponse:
        gathering = await check_registry(registry).async_gather(self._gather_timeout)
        if is_large(gathering, self._formatter):
            families = await own_threads.call(self.prepare, registry, gathering)
        else:
            families = self.prepare(registry, gathering)
        return await self.push_families(methods, registry, families, retry)

    def prepare(self, registry: CollectorRegistry, gathering: Gathering) -> Sequence[MetricFamily]:
        """Escape the names of a collection; report what the format cannot represent to its registry."""
        families, faults = self._formatter.prepare(gathering.families)
        registry.report(faults)
        return families

    async def push_families(
        self,
        methods: tuple[str, ...],
        registry: CollectorRegistry,
        families: Sequence[MetricFamily],
        retry: Retry | None,
    ) -> aiohttp.ClientResponse:
        """Push families, one request after the other; the failure of one costs only its batch.

        Args:
            methods: HTTP method of the first request, then that of the others if it differs.
            registry: Registry whose self-metrics count the requests.
            families: As ``prepare`` returns them.
            retry: Retry policy of each request; ``total`` is that of all requests together.

        Returns:
            As ``add``.

        Raises:
            PushError: As for ``add``; the first one, after the other requests.
        """
        policy, began = retry or self._retry or ONCE, monotonic()
        first: aiohttp.ClientResponse | None = None
        failure: PushError | None = None
        method, *others = methods
        async for chunks in bodies(families, self._formatter, self._limit, self._coding):
            left = policy.total - (monotonic() - began)
            if left <= 0 and (first or failure) is not None:
                break
            try:
                remaining = dataclasses.replace(policy, total=max(left, _MIN_TIMEOUT))
                response = await self._send(method, registry, chunks, remaining)
            except PushError as error:
                failure = failure or error
                if (
                    others or error.status is None
                ):  # the server is unreachable, or nothing was replaced
                    break
            else:
                if first is None or is_success(first):
                    first = response
                if others and not is_success(response):
                    break
            method, others = (others or [method])[0], []
        if failure is not None:
            raise failure
        assert first is not None  # noqa: S101 - there is at least one body
        return first

    async def _send(
        self,
        method: str,
        registry: CollectorRegistry | None,
        chunks: list[bytes],
        retry: Retry | None,
    ) -> aiohttp.ClientResponse:
        headers: dict[str, str] = {}
        if method != hdrs.METH_DELETE:
            headers.update(self._formatter.get_headers())
            if self._coding is not None:
                headers[hdrs.CONTENT_ENCODING] = self._coding
        began, code = perf_counter(), "error"
        try:
            response = await self._delivery.send(method, self._url, chunks, headers, retry=retry)
            code = str(response.status)
        except PushError as error:
            code = "error" if error.status is None else str(error.status)
            raise
        finally:
            if registry is not None:
                size, seconds = sum(map(len, chunks)), perf_counter() - began
                registry.pushes.count(self._destination, code, size, seconds)
        if registry is not None and is_success(response):
            registry.pushes.last.set({"destination": self._destination}, time())
        return response


async def _log_failure(push: Awaitable[aiohttp.ClientResponse], failure_log: FailureLogger) -> None:
    try:
        response = await push
    except Exception as error:  # noqa: BLE001 - whatever it is, the next push may succeed
        failure_log.failed(error)
        return
    if is_success(response):
        failure_log.worked()
    else:
        failure_log.failed(await refused(response))


def _check_run(interval: float, method: str, exit_timeout: float) -> None:
    check_intervals(interval, exit_timeout)
    if method not in {"replace", "add"}:
        raise ValueError(f"method must be 'replace' or 'add', not {method!r}")
