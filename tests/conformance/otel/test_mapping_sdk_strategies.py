"""Translation strategies, and what negotiation does to names after them (M8, M19 to M24, M39, M43)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk.metrics import export
from opentelemetry.sdk.metrics.view import View

from mapping_sdk import CUMULATIVE, Rig, hand_over, metric, number_point
from otel_aioprom.otel.names import STRATEGIES
from otel_aioprom.renderer import render

OPENMETRICS = "application/openmetrics-text;version=1.0.0"
TEXT = "text/plain;version=1.0.0"
UTF8 = "escaping=allow-utf-8"
NAMES = [strategy.name for strategy in STRATEGIES]


def lines(rig: Rig, *accept: str) -> list[str]:
    """Lines of a response, the comments among them."""
    body, _ = render(rig.registry, [";".join(accept)] if accept else [])
    return [line for line in body.decode().splitlines() if not line.startswith("# HELP")]


@pytest.mark.parametrize(
    ("strategy", "classic", "utf8"),
    [
        ("UnderscoreEscapingWithSuffixes", "foo_bar_bytes_total", "foo_bar_bytes_total 1"),
        ("UnderscoreEscapingWithoutSuffixes", "foo_bar", "foo_bar 1"),
        ("NoUTF8EscapingWithSuffixes", "foo_bar_bytes_total", '{"foo.bar_bytes_total"} 1'),
        ("NoTranslation", "foo_bar", '{"foo.bar"} 1'),
    ],
)
def test_m8_m21_m22_the_table_of_strategies(
    rigs: Callable[..., Rig], strategy: str, classic: str, utf8: str
) -> None:
    """Before and after negotiation; quoted where the name is not classic."""
    rig = rigs(translation_strategy=strategy)
    rig.meter().create_counter("foo.bar", unit="By").add(1)

    assert f"{classic} 1" in lines(rig)
    assert f"{classic} 1" in lines(rig, TEXT)
    assert utf8 in lines(rig, TEXT, UTF8)


def test_m8_declarative_spellings(rigs: Callable[..., Rig]) -> None:
    """As a configuration file has them; anything else is refused with the four."""
    rig = rigs(translation_strategy="no_translation/development")
    rig.meter().create_counter("a.b", unit="s").add(1)

    assert '{"a.b"} 1' in lines(rig, TEXT, UTF8)
    with pytest.raises(ValueError, match="NoTranslation, not 'none'"):
        Rig(translation_strategy="none")


@pytest.mark.parametrize(
    ("name", "unit", "exposed"),
    [
        ("foo.total", "s", "foo_seconds_total"),
        ("foo.total", "", "foo_total"),
        ("foo_total", "By", "foo_bytes_total"),
        ("a-b/c", "custom unit", "a-b/c_custom unit_total"),
    ],
)
def test_m18_m21_suffixes_are_joined_to_the_name_as_it_is(
    rigs: Callable[..., Rig], name: str, unit: str, exposed: str
) -> None:
    """A final ``.total`` counts as the suffix; characters of a unit stay."""
    rig = rigs(translation_strategy="NoUTF8EscapingWithSuffixes")
    rig.meter().create_counter(name, unit=unit).add(1)
    shown = f'{{"{exposed}"}} 1' if set(exposed) & set("-/ .") else f"{exposed} 1"

    assert shown in lines(rig, TEXT, UTF8)


def test_m19_the_prefix_stands_in_front_in_every_strategy(rigs: Callable[..., Rig]) -> None:
    """Before anything is escaped, never on target_info."""
    rig = rigs(
        prefix="my.app",
        translation_strategy="NoTranslation",
        target_info_enabled=True,
        resource={"service.name": "shop"},
    )
    rig.meter().create_counter("foo", unit="s").add(1)
    found = lines(rig, TEXT, UTF8)

    assert '{"my.app_foo"} 1' in found
    assert 'target_info{"service.name"="shop"} 1' in found


def test_m21_m22_the_example_with_labels(rigs: Callable[..., Rig]) -> None:
    """Names and labels quoted, or each illegal character one underscore."""
    rig = rigs(translation_strategy="NoTranslation")
    rig.meter().create_counter("a..b", unit="s").add(1, {"x.-y": "1"})

    assert '{"a..b","x.-y"="1"} 1' in lines(rig, TEXT, UTF8)
    assert 'a__b{x__y="1"} 1' in lines(rig)
    assert 'a_dot__dot_b{x_dot___y="1"} 1' in lines(rig, TEXT, "escaping=dots")
    assert 'U__a_2e__2e_b{U__x_2e__2d_y="1"} 1' in lines(rig, TEXT, "escaping=values")


def test_m22_names_that_meet_become_one_family(rigs: Callable[..., Rig]) -> None:
    """With one TYPE; equal labels are joined, equal series of a counter add up."""
    rig = rigs(translation_strategy="NoTranslation")
    rig.meter().create_counter("a.b").add(1, {"k": "v"})
    rig.meter().create_counter("a_b").add(2, {"k": "v"})
    rig.meter().create_counter("c").add(4, {"x.y": "1", "x_y": "2"})
    found = lines(rig)

    assert found.count("# TYPE a_b counter") == 1
    assert 'a_b{k="v"} 3' in found
    assert 'c{x_y="1;2"} 4' in found
    kept = lines(rig, TEXT, UTF8)
    assert '{"a.b",k="v"} 1' in kept
    assert 'a_b{k="v"} 2' in kept


def test_m22_types_that_meet_cost_the_later_one(rigs: Callable[..., Rig]) -> None:
    """If the names differ, both are served."""
    rig = rigs(translation_strategy="NoTranslation")
    rig.meter().create_counter("a_b").add(1)
    rig.meter().create_gauge("a.b").set(2)

    assert [line for line in lines(rig) if line.startswith("a_b")] == ["a_b 1"]
    assert '{"a.b"} 2' in lines(rig, TEXT, UTF8)


@pytest.mark.parametrize("strategy", NAMES)
def test_m23_units_in_openmetrics(rigs: Callable[..., Rig], strategy: str) -> None:
    """Only where the name ends with them."""
    rig = rigs(translation_strategy=strategy)
    rig.meter().create_gauge("mem", unit="By").set(1)
    rig.meter().create_counter("disk.io", unit="s").add(1)
    found = lines(rig, OPENMETRICS, UTF8)
    suffixes = strategy.endswith("WithSuffixes")

    assert ("# UNIT mem_bytes bytes" in found) is suffixes
    dot = "." if strategy.startswith("No") else "_"
    name = f'"disk{dot}io_seconds"' if dot == "." else "disk_io_seconds"
    assert (f"# UNIT {name} seconds" in found) is suffixes
    assert not any(line.startswith("# UNIT") for line in found) or suffixes


@pytest.mark.parametrize("strategy", NAMES)
def test_m24_counters_without_total(rigs: Callable[..., Rig], strategy: str) -> None:
    """In OpenMetrics they have the name of the other formats, and no type that would rename them."""
    rig = rigs(translation_strategy=strategy)
    rig.meter().create_counter("foo.bar").add(1)
    dot = "." if strategy.startswith("No") else "_"
    named = f"foo{dot}bar" + ("_total" if strategy.endswith("WithSuffixes") else "")
    name, sample = (f'"{named}"', f'{{"{named}"}} 1') if dot == "." else (named, f"{named} 1")

    assert f"# TYPE {name} counter" in lines(rig, TEXT, UTF8)
    assert sample in lines(rig, TEXT, UTF8)
    *_, head, line, end = lines(rig, OPENMETRICS, UTF8)
    kept = strategy.endswith("WithSuffixes")
    assert head == (f"# TYPE {name.replace('_total', '')} counter" if kept else f"# TYPE {name} unknown")  # fmt: skip
    assert (line, end) == (sample, "# EOF")


@pytest.mark.parametrize("strategy", NAMES)
def test_m39_m43_reserved_names_are_exported(rigs: Callable[..., Rig], strategy: str) -> None:
    """The metric's name is no label in any strategy, nor is a histogram's bound."""
    rig = rigs(translation_strategy=strategy)
    rig.meter().create_gauge("g").set(1, {"__name__": "x", "quantile": "q"})
    histogram = rig.meter().create_histogram("h", explicit_bucket_boundaries_advisory=[1])
    histogram.record(2, {"le": "x"})
    found = lines(rig, TEXT, UTF8)

    escaping = strategy.startswith("Underscore")
    name = "_name_" if escaping else "exported___name__"
    assert f'g{{{name}="x",quantile="q"}} 1' in found
    assert 'h_bucket{exported_le="x",le="1.0"} 0' in found
    assert 'h_sum{exported_le="x"} 2' in found


def test_m20_impossible_names_cost_themselves_in_every_strategy(rigs: Callable[..., Rig]) -> None:
    """A name of nothing but underscores is none; others are served."""
    for strategy in NAMES:
        rig = rigs(translation_strategy=strategy, views=[View(instrument_name="bad", name="__")])
        rig.meter().create_counter("bad").add(1)
        rig.meter().create_counter("good").add(1)
        page = rig.scrape()

        assert page.dropped == {"untranslatable": 1}
        assert [name.partition("_")[0] for name in page.samples] == ["good"]


def test_m46_reserved_scope_attributes_are_dropped_though_names_are_kept(
    rigs: Callable[..., Rig],
) -> None:
    """They would collide with the scope's own labels as soon as names are escaped."""
    rig = rigs(translation_strategy="NoTranslation", scope_info_enabled=True)
    meter = rig.meter(attributes={"schema.url": "mine", "my.team": "core"})
    meter.create_counter("c").add(1)
    (sample,) = [line for line in lines(rig, TEXT, UTF8) if line.startswith("c{")]

    assert '"otel_scope_my.team"="core"' in sample
    assert "mine" not in sample


def test_m21_names_from_elsewhere(rig: Rig, rigs: Callable[..., Rig]) -> None:
    """Any characters that a name can have arrive, lone surrogates replaced."""
    rig = rigs(translation_strategy="NoTranslation")
    total = export.Sum([number_point(1, {"é\n": "x", "\ud800": "y"})], CUMULATIVE, True)
    hand_over(rig.reader, metric('größe "x"\\\ud800', total))
    found = lines(rig, TEXT, UTF8)

    assert '{"größe \\"x\\"\\\\\ufffd","é\\n"="x","\ufffd"="y"} 1' in found


def test_official_words_of_the_options(rigs: Callable[..., Rig]) -> None:
    """In their order, and with their names."""

    def attribute_filter(key: str) -> bool:
        return key.startswith("service")

    options: dict[str, Any] = {"resource": {"service.name": "shop", "host": "h"}}
    rig = rigs(**options, disable_target_info=True, resource_attribute_filter=attribute_filter)
    rig.meter().create_counter("c").add(1)
    assert lines(rig) == ["# TYPE c_total counter", 'c_total{service_name="shop"} 1']
    with pytest.raises(ValueError, match="and not both"):
        Rig(
            resource_constant_labels={"included": ["a"]}, resource_attribute_filter=attribute_filter
        )
    with pytest.raises(TypeError, match="must be a function"):
        Rig(resource_attribute_filter="service*")
