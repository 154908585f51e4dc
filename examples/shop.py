"""A small shop with OpenTelemetry instruments and native collectors in one registry.

The shop is an aiohttp application on http://localhost:8080/. Simulated customers use it over HTTP.
Its metrics are on http://localhost:9464/metrics.

Usage:
    python examples/shop.py [--port 9464] [--shop-port 8080] [--customers 5]

Port 0 means any free one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from aiohttp import ClientError, ClientSession, web
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource

from otel_aioprom import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PrometheusMetricReader,
    Service,
    Summary,
)
from otel_aioprom.errors import ServiceStartError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PRICES = {"apple": 0.5, "bread": 3.25, "cheese": 7.0, "tea": 4.75}
SHELF = 200
"""How many items of one product the warehouse can hold."""


class HttpMetrics:
    """Native collectors around each request of the shop."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter("http_requests_total", "Requests answered.", registry=registry)
        self.in_progress = Gauge(
            "http_requests_in_progress", "Requests being answered.", registry=registry
        )
        self.duration = Histogram(
            "http_request_duration_seconds", "Time to answer a request.", registry=registry
        )
        self.size = Summary("http_response_size_bytes", "Length of bodies.", registry=registry)

    @web.middleware
    async def measure(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count and time one request."""
        resource = request.match_info.route.resource
        route = {"route": resource.canonical if resource else "unknown"}
        begun = time.perf_counter()
        status = 500
        self.in_progress.inc()
        try:
            response = await handler(request)
            status = response.status
        except web.HTTPException as error:
            status = error.status
            raise
        finally:
            self.in_progress.dec()
            self.duration.observe(route, time.perf_counter() - begun)
            self.requests.inc({**route, "method": request.method, "status": status})
        self.size.observe(route, response.content_length or 0)
        return response


class BusinessMetrics:
    """OpenTelemetry instruments for what the shop sells.

    The observable ones read the shop's state when they are collected. The shop records the others.
    """

    def __init__(self, provider: MeterProvider, shop: Shop) -> None:
        self._shop = shop
        meter = provider.get_meter("shop", "1.0")
        self.orders = meter.create_counter("shop.orders", "{order}", "Orders paid.")
        self.carts = meter.create_up_down_counter("shop.carts", "{cart}", "Open carts.")
        self.search = meter.create_histogram("shop.search.duration", "s", "Time to search.")
        self.price = meter.create_gauge("shop.product.price", "EUR", "Price of one item.")
        meter.create_observable_counter(
            "shop.revenue", [self._revenue], "EUR", "Money taken, by way of payment."
        )
        meter.create_observable_gauge(
            "shop.warehouse.fill", [self._fill], "1", "Used part of the warehouse."
        )
        meter.create_observable_up_down_counter(
            "shop.stock", [self._stock], "{item}", "Items in the warehouse."
        )

    def _revenue(self, options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(money, {"pay.by": way}) for way, money in self._shop.till.items()]

    def _fill(self, options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(sum(self._shop.stock.values()) / (SHELF * len(PRICES)))]

    def _stock(self, options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(count, {"product": name}) for name, count in self._shop.stock.items()]


class Shop:
    """Products, carts and a till, behind an aiohttp application."""

    def __init__(self, registry: CollectorRegistry, provider: MeterProvider) -> None:
        self.stock = dict.fromkeys(PRICES, SHELF)
        self.carts: dict[str, list[str]] = {}
        self.till = {"card": 0.0, "cash": 0.0}
        self.http = HttpMetrics(registry)
        self.business = BusinessMetrics(provider, self)
        for product, price in PRICES.items():
            self.business.price.set(price, {"product": product})
        self.app = web.Application(middlewares=[self.http.measure])
        self.app.add_routes(
            [
                web.get("/", self.home),
                web.get("/products", self.products),
                web.get("/search", self.search),
                web.post("/carts/{customer}/{product}", self.add_to_cart),
                web.post("/carts/{customer}", self.check_out),
            ]
        )

    async def home(self, request: web.Request) -> web.Response:
        """Greet a visitor."""
        text = "The shop. Try /products, or /search?for=e\n"
        return web.Response(text=text)

    async def products(self, request: web.Request) -> web.Response:
        """List products, prices and stock."""
        return web.json_response(
            [{"name": name, "price": PRICES[name], "stock": self.stock[name]} for name in PRICES]
        )

    async def search(self, request: web.Request) -> web.Response:
        """Find products by part of their name, slowly."""
        begun = time.perf_counter()
        await asyncio.sleep(random.uniform(0.01, 0.2))  # noqa: S311 (no secret)
        found = [name for name in PRICES if request.query.get("for", "") in name]
        self.business.search.record(time.perf_counter() - begun, {"hit": bool(found)})
        return web.json_response(found)

    async def add_to_cart(self, request: web.Request) -> web.Response:
        """Move one item from the warehouse to a customer's cart."""
        customer, product = request.match_info["customer"], request.match_info["product"]
        if product not in PRICES:
            raise web.HTTPNotFound(text=f"no {product} here\n")
        if not self.stock[product]:
            self.stock[product] = SHELF  # restocked, but not for this customer
            raise web.HTTPConflict(text=f"{product} is sold out\n")
        self.stock[product] -= 1
        if customer not in self.carts:
            self.business.carts.add(1)
        cart = self.carts.setdefault(customer, [])
        cart.append(product)
        return web.json_response(cart, status=201)

    async def check_out(self, request: web.Request) -> web.Response:
        """Pay for a cart and empty it."""
        cart = self.carts.pop(request.match_info["customer"], None)
        if cart is None:
            raise web.HTTPNotFound(text="no such cart\n")
        way = "cash" if request.query.get("pay") == "cash" else "card"
        total = sum(PRICES[product] for product in cart)
        self.till[way] += total
        self.business.carts.add(-1)
        self.business.orders.add(1, {"pay.by": way})
        return web.json_response({"items": len(cart), "total": total})


class _GoHomeError(Exception):
    """A customer must stop."""


@dataclass
class Customers:
    """Simulated customers, each with its own connection.

    Attributes:
        url: The shop's address.
        pause: Average time between two requests of a customer, in seconds.
    """

    url: str
    pause: float = 0.2
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _closing: asyncio.Event = field(default_factory=asyncio.Event)

    def start(self, count: int) -> None:
        """Start more customers."""
        first = len(self._tasks)
        for number in range(first, first + count):
            self._tasks.append(asyncio.create_task(self._live(f"customer-{number}")))

    async def stop(self) -> None:
        """Stop all customers. Each one finishes its current request."""
        tasks, self._tasks = self._tasks, []
        self._closing.set()
        await asyncio.gather(*tasks)
        self._closing.clear()

    async def _live(self, name: str) -> None:
        async with ClientSession(self.url) as session:
            with contextlib.suppress(_GoHomeError):
                while True:
                    with contextlib.suppress(ClientError):
                        await self._visit(session, name)
                    await self._think()

    async def _visit(self, session: ClientSession, name: str) -> None:
        """Look around, buy a few things, pay."""
        await self._request(session, "GET", "/products")
        await self._request(session, "GET", f"/search?for={random.choice('aeq')}")  # noqa: S311
        for product in random.choices([*PRICES, "gold"], k=random.randint(1, 4)):  # noqa: S311
            await self._request(session, "POST", f"/carts/{name}/{product}")
        way = random.choice(["card", "card", "cash"])  # noqa: S311
        await self._request(session, "POST", f"/carts/{name}?pay={way}")

    async def _request(self, session: ClientSession, method: str, path: str) -> None:
        async with session.request(method, path) as response:
            await response.read()
        await self._think()

    async def _think(self) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._closing.wait(), random.expovariate(1 / self.pause))
            raise _GoHomeError


@dataclass(frozen=True)
class Demo:
    """The parts of a running demonstration."""

    registry: CollectorRegistry
    service: Service
    shop: Shop
    shop_url: str
    customers: Customers


@contextlib.asynccontextmanager
async def serve_shop(app: web.Application, port: int) -> AsyncIterator[str]:
    """Serve the shop and yield its address.

    If the port is in use, a free one is chosen.
    """
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
        except OSError:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://localhost:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def running(port: int = 9464, shop_port: int = 8080) -> AsyncIterator[Demo]:
    """Run the shop and its metrics. The caller starts the customers.

    Raises:
        ServiceStartError: The metrics cannot be served on that port.
    """
    registry = CollectorRegistry()
    provider = MeterProvider(
        metric_readers=[PrometheusMetricReader(registry=registry)],
        resource=Resource.create({"service.name": "shop"}),
        shutdown_on_exit=False,
    )
    try:
        shop = Shop(registry, provider)
        async with (
            Service(registry).running(addr="localhost", port=port) as service,
            serve_shop(shop.app, shop_port) as shop_url,
        ):
            customers = Customers(shop_url)
            try:
                yield Demo(registry, service, shop, shop_url, customers)
            finally:
                await customers.stop()
    finally:
        provider.shutdown()


async def until_stopped() -> None:
    """Return on Ctrl-C or SIGTERM."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C cancels instead
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()


async def demonstrate(port: int, shop_port: int, customers: int) -> None:
    """Run the demonstration until it is stopped."""
    async with running(port, shop_port) as demo:
        print(f"shop     {demo.shop_url}")
        print(f"metrics  {demo.service.metrics_url}")
        print("Ctrl-C stops", flush=True)
        demo.customers.start(customers)
        await until_stopped()
    print("stopped")


def main() -> int:
    """Read the command line and run.

    Returns:
        0 after a clean stop, 1 if the metrics' port is in use.
    """
    parser = argparse.ArgumentParser(description="A small shop with metrics.")
    parser.add_argument("--port", type=int, default=9464, help="port of the metrics")
    parser.add_argument("--shop-port", type=int, default=8080, help="port of the shop")
    parser.add_argument("--customers", type=int, default=5, help="how many come")
    options = parser.parse_args()
    try:
        asyncio.run(demonstrate(options.port, options.shop_port, options.customers))
    except ServiceStartError as error:
        print(f"shop: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # where the event loop cannot handle signals
        print("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
