"""Compatibility with the predecessor: registry and exposition (N13 to N16)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider

from otel_aioprom import formats, negotiator, renderer
from otel_aioprom.collectors import Collector, Counter, Gauge, MetricsTypes
from otel_aioprom.formats import TextFormatter
from otel_aioprom.formats.base import IFormatter
from otel_aioprom.otel.reader import PrometheusMetricReader
from otel_aioprom.registry import REGISTRY, CollectorRegistry, Registry

INF = math.inf
TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def own(kind: MetricsTypes, answer: Callable[[], Any]) -> CollectorRegistry:
    """A registry with a custom collector called ``own``, and a counter."""
    own_class = type("Own", (Collector,), {"kind": kind, "get_all": lambda self: answer()})
    registry = CollectorRegistry()
    registry.register(own_class("own", "What.", {"app": "shop"}))
    Counter("other", "What.", registry=registry).inc()
    return registry


def lines(registry: CollectorRegistry) -> list[str]:
    """Sample and TYPE lines of a response."""
    body, _ = renderer.render(registry, [])
    return [line for line in body.decode().splitlines() if not line.startswith("# HELP")]


def test_n13_collectors_are_registered_found_and_deregistered() -> None:
    """The registry's four methods; ``Registry`` is the same class, and ``REGISTRY`` an instance."""
    registry = CollectorRegistry()
    first, second = Counter("x", "What."), Gauge("y", "What.")
    registry.register(first)
    registry.register(second)
    both = registry.get_all()
    registry.deregister("x")

    assert Registry is CollectorRegistry
    assert isinstance(REGISTRY, CollectorRegistry)
    assert (both[0], both[1]) == (first, second)
    assert registry.get("y") is second
    assert registry.get_all() == [second]
    registry.register(first)


@pytest.mark.parametrize("thing", [None, "x", object(), Counter, 5])
def test_n13_other_objects_raise_type_error(thing: Any) -> None:
    """Only instances of collectors can be registered."""
    with pytest.raises(TypeError, match="collector"):
        CollectorRegistry().register(thing)


def test_n13_a_taken_name_raises_value_error() -> None:
    """For collectors of all types, and for the same one again."""
    registry = CollectorRegistry()
    first = Counter("x", "What.", registry=registry)
    for collector in (first, Counter("x", "What."), Gauge("x", "Other.")):
        with pytest.raises(ValueError, match="taken"):
            registry.register(collector)

    assert registry.get_all() == [first]


def test_n13_an_unknown_name_raises_key_error() -> None:
    """In ``get`` and ``deregister``."""
    registry = CollectorRegistry()
    for call in (registry.get, registry.deregister):
        with pytest.raises(KeyError):
            call("x")


@pytest.mark.parametrize("kind", [MetricsTypes.counter, MetricsTypes.gauge, MetricsTypes.untyped])
def test_n13_numbers_of_a_custom_collector_have_its_type(kind: MetricsTypes) -> None:
    """``get_all`` is called for each response; constant labels are added."""
    values = iter([1, 2.5])
    registry = own(kind, lambda: [({"b": 1, "a": "x"}, next(values))])
    first, second = lines(registry), lines(registry)

    assert f"# TYPE own {kind.name}" in first
    assert 'own{a="x",app="shop",b="1"} 1' in first
    assert 'own{a="x",app="shop",b="1"} 2.5' in second


def test_n13_histograms_of_a_custom_collector() -> None:
    """``get_all`` returns dicts like ``Histogram.get``; ``inf`` may be absent."""
    full = {1.0: 1, INF: 3, "count": 3, "sum": 9.5}
    short = {1: 1, "count": 3, "sum": 9.5}
    for value in (full, short):
        found = lines(own(MetricsTypes.histogram, lambda value=value: [({}, value)]))

        assert found[2:] == [
            "# TYPE own histogram",
            'own_bucket{app="shop",le="1.0"} 1',
            'own_bucket{app="shop",le="+Inf"} 3',
            'own_sum{app="shop"} 9.5',
            'own_count{app="shop"} 3',
        ]


def test_n13_summaries_of_a_custom_collector() -> None:
    """``get_all`` returns dicts like ``Summary.get``."""
    value = {0.9: 2, 0.5: 1, "count": 3, "sum": 9.5}

    assert lines(own(MetricsTypes.summary, lambda: [({}, value)]))[2:] == [
        "# TYPE own summary",
        'own{app="shop",quantile="0.5"} 1',
        'own{app="shop",quantile="0.9"} 2',
        'own_sum{app="shop"} 9.5',
        'own_count{app="shop"} 3',
    ]


def fail() -> Any:
    """Raise like third-party code."""
    raise RuntimeError("no")


def test_n13_a_custom_collector_that_raises_is_dropped() -> None:
    """Everything else is exposed, and the loss is counted by its cause."""
    found = lines(own(MetricsTypes.gauge, fail))

    assert "other 1" in found
    assert 'otel_aioprom_dropped_total{cause="raised"} 1' in found
    assert not [line for line in found if line.startswith("own")]


class Unspeakable:
    """Its ``str`` raises."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("kind", "item"),
    [
        ("gauge", ({"a": "1"}, "text")),
        ("gauge", ({"__a": "1"}, 1)),
        ("gauge", (5, 1)),
        ("gauge", ({"a": "1"}, 10**400)),
        ("gauge", None),
        ("gauge", ({"a": "1"}, 1, 2)),
        ("gauge", ({"a": Unspeakable()}, 1)),
        ("histogram", ({}, 5)),
        ("histogram", ({"le": "1"}, {1: 1, "count": 1, "sum": 1})),
        ("histogram", ({}, {1: 1, "sum": 1})),
        ("histogram", ({}, {1: 2, 2: 1, "count": 2, "sum": 1})),
        ("histogram", ({}, {1: 1, INF: 2, "count": 3, "sum": 1})),
        ("histogram", ({}, {1: 1, "count": INF, "sum": 1})),
        ("histogram", ({}, {"count": 1, "sum": 1})),
        ("summary", ({"quantile": "1"}, {0.5: 1, "count": 1, "sum": 1})),
        ("summary", ({}, {0.5: "x", "count": 1, "sum": 1})),
        ("summary", ({}, {0.5: 1, "count": math.nan, "sum": 1})),
        ("summary", ({}, {0.5: 1, "count": INF, "sum": 1})),
    ],
)
def test_n13_an_invalid_item_of_a_custom_collector_is_dropped(kind: str, item: Any) -> None:
    """Other items are exposed, and the loss is counted."""
    good = {
        "gauge": 7,
        "histogram": {1: 1, "count": 7, "sum": 1},
        "summary": {0.5: 1, "count": 7, "sum": 1},
    }
    registry = own(MetricsTypes[kind], lambda: [item, ({"good": "1"}, good[kind])])
    found = lines(registry)

    assert [line for line in found if 'good="1"' in line and line.endswith(" 7")]
    assert 'otel_aioprom_dropped_total{cause="untranslatable"} 1' in found


def test_n13_a_bare_collector_is_exposed_as_untyped() -> None:
    """The base class can be used as a metric."""
    registry = CollectorRegistry()
    Collector("x", "What.", registry=registry).set_value({"a": "1"}, 5)

    assert lines(registry) == ["# TYPE x untyped", 'x{a="1"} 5']


@pytest.fixture
def shop() -> Any:
    """A registry with an OpenTelemetry counter ``x`` of the value 2."""
    registry = CollectorRegistry()
    reader = PrometheusMetricReader(registry=registry)
    provider = MeterProvider(metric_readers=[reader])
    provider.get_meter("shop").create_counter("x").add(2, {"a": "b"})
    yield registry
    provider.shutdown()


def test_n13_metrics_of_opentelemetry_are_collectors(shop: CollectorRegistry) -> None:
    """After a collection they are found and listed like native ones, with the exposed labels."""
    native = Gauge("y", "What.", registry=shop)
    with pytest.raises(KeyError):
        shop.get("x_total")
    renderer.render(shop, [])
    found = shop.get("x_total")

    assert isinstance(found, Counter)
    assert found.get({"otel_scope_name": "shop", "a": "b"}) == 2
    assert [each.name for each in shop.get_all() if each.name != "target_info"] == ["y", "x_total"]
    assert shop.get("y") is native
    with pytest.raises(KeyError):
        found.get({"a": "b"})


def test_n13_a_native_collector_replaces_one_of_opentelemetry(shop: CollectorRegistry) -> None:
    """It may take the name, and is found by it from then on."""
    renderer.render(shop, [])
    native = Counter("x_total", "What.", registry=shop)
    native.inc()

    assert shop.get("x_total") is native
    assert "x_total 1" in lines(shop)
    assert not [line for line in lines(shop) if line.startswith("x_total{")]


def test_n14_a_formatter_has_one_bool_argument() -> None:
    """It has headers and ``marshall``, and writes no timestamps by default."""
    registry = CollectorRegistry()
    Counter("x_total", "What.", registry=registry).inc()
    plain, stamped = TextFormatter(False), TextFormatter(True)

    assert formats.TextFormatter is TextFormatter
    assert issubclass(TextFormatter, IFormatter)
    assert plain.get_headers() == {"Content-Type": TEXT_TYPE}
    body = b"# HELP x_total What.\n# TYPE x_total counter\nx_total 1"
    assert plain.marshall(registry) == TextFormatter().marshall(registry) == body + b"\n"
    assert stamped.marshall(registry).startswith(body + b" 1")


def test_n15_negotiate_returns_a_formatter_class() -> None:
    """For any headers; without headers, text 0.0.4."""
    for headers in ([], ["text/plain; version=0.0.4"], ["*/*"], ["nonsense;;,=", ""]):
        assert issubclass(negotiator.negotiate(headers), IFormatter)
    assert negotiator.negotiate([]) is TextFormatter
    assert negotiator.negotiate(["text/plain;version=0.0.4"]) is TextFormatter


def test_n15_parse_accepts_returns_media_types_and_parameters() -> None:
    """All items of all headers in one set, without blanks."""
    parse = negotiator.parse_accepts

    assert parse(["text/plain; version=0.0.4"]) == {"text/plain", "version=0.0.4"}
    assert parse(["a/b;q=0.5, c/d", " */* "]) == {"a/b", "q=0.5", "c/d", "*/*"}
    assert parse([]) == parse([""]) == set()


def test_n16_render_returns_bytes_and_headers(shop: CollectorRegistry) -> None:
    """Without headers, text 0.0.4; OpenTelemetry is collected for the response."""
    body, headers = renderer.render(shop, [])

    assert type(body) is bytes
    assert headers == {"Content-Type": TEXT_TYPE}
    assert b'x_total{a="b",otel_scope_name="shop"' in body
    assert renderer.render(shop, ["text/plain"])[1] == headers
