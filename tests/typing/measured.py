"""Types of measured code: checked by mypy, never run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from typing import Any, TypeVar

from typing_extensions import assert_type

from otel_aioprom import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    Service,
    StateSet,
    Summary,
    count_exceptions,
    inprogress,
    render,
    timer,
)
from otel_aioprom.collectors.context_managers import (
    ExceptionCounter,
    InprogressTracker,
    MeasuringContext,
    Timer,
)
from otel_aioprom.collectors.series.classic_histogram import HistogramSeries
from otel_aioprom.collectors.series.number import CounterSeries, GaugeSeries
from otel_aioprom.collectors.series.summary import SummarySeries

T = TypeVar("T")

seconds = Histogram("seconds", "Time.")
waits = Summary("waits", "Time.")
busy = Gauge("busy", "What is in progress.")
failures = Counter("failures_total", "What has failed.")

# --- functions of every kind -----------------------------------------------------------------


@seconds.time({"of": "plain"})
def plain(number: int, *, text: str = "") -> str:
    """Take an argument of each kind."""
    return f"{number}{text}"


@waits.time()
@busy.track_inprogress()
@failures.count_exceptions(types=(OSError, ValueError))
async def coroutine(number: int) -> bytes:
    """Be awaited, under three decorators."""
    return bytes(number)


@busy.track_inprogress({"of": "generator"})
def generator(number: int) -> Generator[int, str, bytes]:
    """Yield, be sent something, return."""
    sent = yield number
    return sent.encode()


@failures.count_exceptions()
async def async_generator(number: int) -> AsyncGenerator[int, str]:
    """Yield, and be sent something."""
    sent = yield number
    yield len(sent)


@seconds.time()
def iterator(number: int) -> Iterator[int]:
    """A generator with a less specific type."""
    yield number


@seconds.time()
async def async_iterator(number: int) -> AsyncIterator[int]:
    """An asynchronous generator with a less specific type."""
    yield number


@seconds.time()
def first_of(items: list[T]) -> T:
    """Return a type that depends on the argument."""
    return items[0]


@timer(seconds)
@inprogress(busy)
@count_exceptions(failures)
def under_the_old_names(number: int) -> float:
    """The decorators of aioprometheus."""
    return number / 2


async def use_functions() -> None:
    """Decorated functions keep their signatures."""
    assert_type(plain(1, text="x"), str)
    awaitable = assert_type(coroutine(1), Coroutine[Any, Any, bytes])
    assert_type(await awaitable, bytes)
    assert_type(generator(1), Generator[int, str, bytes])
    assert_type(async_generator(1), AsyncGenerator[int, str])
    assert_type(iterator(1), Iterator[int])
    assert_type(async_iterator(1), AsyncIterator[int])
    assert_type([number async for number in async_iterator(1)], list[int])
    assert_type(first_of([1, 2]), int)
    assert_type(first_of(["a"]), str)
    assert_type(under_the_old_names(1), float)
    assert_type(seconds.time()(len)([]), int)
    assert_type(seconds.time()(lambda: 3)(), int)


def use_them_wrongly() -> None:
    """Wrong calls stay errors, or mypy reports an unused ``type: ignore``."""
    plain("1")  # type: ignore[arg-type]
    plain(1, "x")  # type: ignore[call-arg]
    generator()  # type: ignore[call-arg]
    seconds.time()(3)  # type: ignore[arg-type]


# --- methods ---------------------------------------------------------------------------------


class Worker:
    """Methods of every kind."""

    @seconds.time()
    def method(self, number: int) -> str:
        """Be bound to an object."""
        return f"{number}"

    @seconds.time()
    async def awaited(self, number: int) -> str:
        """Be bound, and awaited."""
        return f"{number}"

    @seconds.time()
    def chained(self) -> Worker:
        """Return an object for chained calls."""
        return self

    @staticmethod
    @seconds.time()
    def static(number: int) -> str:
        """Be bound to nothing."""
        return f"{number}"

    @classmethod
    @seconds.time()
    def made(cls, number: int) -> Worker:
        """Be bound to the class."""
        return cls()

    @seconds.time()
    @staticmethod
    def static_below(number: int) -> str:
        """Be bound to nothing, with the decorator above."""
        return f"{number}"

    @seconds.time()
    @classmethod
    def made_below(cls, number: int) -> Worker:
        """Be bound to the class, with the decorator above."""
        return cls()

    @property
    @seconds.time()
    def size(self) -> int:
        """Be looked up."""
        return 1


async def use_methods(worker: Worker) -> None:
    """Decorated methods are bound like others."""
    assert_type(worker.method(1), str)
    assert_type(Worker.method(worker, 1), str)
    assert_type(await worker.awaited(1), str)
    assert_type(worker.chained().chained(), Worker)
    assert_type(worker.static(1), str)
    assert_type(Worker.static(1), str)
    assert_type(Worker.made(1), Worker)
    assert_type(worker.made(1), Worker)
    assert_type(worker.static_below(1), str)
    assert_type(Worker.static_below(1), str)
    assert_type(Worker.made_below(1), Worker)
    assert_type(worker.made_below(1), Worker)
    assert_type(worker.size, int)


# --- context managers ------------------------------------------------------------------------


@seconds.time()
@contextmanager
def opened(name: str) -> Iterator[int]:
    """Stand below the decorator."""
    yield len(name)


@seconds.time()
@asynccontextmanager
async def opened_too(name: str) -> AsyncIterator[int]:
    """Stand below it, asynchronously."""
    yield len(name)


@contextmanager
@seconds.time()
def measured(name: str) -> Iterator[int]:
    """Stand above it."""
    yield len(name)


@asynccontextmanager
@seconds.time()
async def measured_too(name: str) -> AsyncIterator[int]:
    """Stand above it, asynchronously."""
    yield len(name)


async def use_context_managers() -> None:
    """The types of ``as`` targets are kept."""
    below: AbstractContextManager[int] = opened("a")
    above: AbstractContextManager[int] = measured("a")
    other: AbstractAsyncContextManager[int] = measured_too("a")
    another: AbstractAsyncContextManager[int] = opened_too("a")
    with below as one, above as two:
        assert_type(one, int)
        assert_type(two, int)
    async with other as three, another as four:
        assert_type(three, int)
        assert_type(four, int)


async def use_blocks() -> None:
    """``with`` and ``async with`` return the object itself, and do not swallow exceptions."""
    with seconds.time() as timing:
        assert_type(timing, Timer)
    async with waits.time({"a": 1}) as timing_too:
        assert_type(timing_too, Timer)
    with busy.time() as last:
        assert_type(last, Timer)
    with busy.track_inprogress() as progress:
        assert_type(progress, InprogressTracker)
    async with busy.track_inprogress() as progress_too:
        assert_type(progress_too, InprogressTracker)
    with failures.count_exceptions(types=OSError) as counted:
        assert_type(counted, ExceptionCounter)
    with timer(seconds) as old:
        assert_type(old, MeasuringContext)


def returns_from_a_block() -> int:
    """If the block could swallow exceptions, a return would be missing."""
    with seconds.time(), busy.track_inprogress(), failures.count_exceptions():
        return 1


async def returns_from_an_asynchronous_block() -> int:
    """The same for ``async with``."""
    async with seconds.time(), busy.track_inprogress(), failures.count_exceptions():
        return 1


# --- the quick starts ------------------------------------------------------------------------

requests = Counter("http_requests_total", "Requests served.", registry=REGISTRY)
latency = Histogram("http_request_duration_seconds", "Time to answer.", registry=REGISTRY)


async def serve() -> None:
    """As in the README."""
    requests.inc({"path": "/"})
    latency.observe({"path": "/"}, 0.02)
    async with Service(REGISTRY).running(addr="127.0.0.1", port=9464) as service:
        assert_type(service, Service)
        assert_type(service.metrics_url, str)
    assert_type(render(REGISTRY), tuple[bytes, dict[str, str]])


def bind() -> None:
    """Bound children have the type of their kind."""
    assert_type(requests.labels({"path": "/"}), CounterSeries)
    assert_type(busy.labels(), GaugeSeries)
    assert_type(latency.labels({"path": "/"}), HistogramSeries)
    assert_type(waits.labels(None), SummarySeries)


async def ask() -> float:
    """Return a value, as a callback."""
    return 1.0


def record(registry: CollectorRegistry) -> None:
    """Every way to record."""
    requests.inc()
    requests.inc({"path": "/"}, exemplar={"trace_id": "a"})
    requests.add({"path": "/", "code": 200}, 2, exemplar={"trace_id": "a"})
    latency.observe({}, 1, exemplar={"trace_id": "a"})
    waits.observe(None, 1.5)
    busy.set({}, 1)
    busy.set_function({"a": "b"}, lambda: 3)
    busy.set_function({"a": "b"}, ask, timeout=1)
    Histogram("h", "H.", buckets=None, native_bucket_factor=1.1, max_series=5, registry=registry)
    Summary("s", "S.", invariants=[(0.5, 0.01)], max_age=None, expire_after=5.0)
    Info("build", "B.").set({}, {"version": "1"})
    StateSet("features", "F.", ["a", "b"]).set({}, "a", True)
    Enum("phase", "P.", ["a", "b"]).set({}, "b")
    with busy.replace() as fresh:
        assert_type(fresh, Gauge)
        fresh.set({}, 2)
    same: Callable[[int], float] = under_the_old_names
    assert_type(same(1), float)
