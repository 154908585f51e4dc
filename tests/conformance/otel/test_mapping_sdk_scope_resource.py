"""Scope and resource from end to end: their labels and target_info; one test or more a rule."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics import export
from opentelemetry.sdk.resources import Resource

from mapping_sdk import SHOP, Rig, hand_over, metric, number_point, observing, scrape
from otel_aioprom.otel.reader import PrometheusMetricReader
from otel_aioprom.registry import CollectorRegistry


def test_m45_scope_labels_are_on_every_sample(rigs: Callable[..., Rig]) -> None:
    """Name, version, schema URL and attributes of the scope stand on every sample."""
    rig = rigs(scope_info_enabled=True)
    meter = rig.meter("lib", version="1.0", schema_url="https://s/1", attributes={"fizz": "buzz"})
    meter.create_counter("c").add(1)
    meter.create_histogram("h", explicit_bucket_boundaries_advisory=[]).record(2)

    scope = 'otel_scope_fizz="buzz",otel_scope_name="lib",otel_scope_schema_url="https://s/1",otel_scope_version="1.0"'
    assert rig.samples() == {
        f"c_total{{{scope}}}": 1,
        f'h_bucket{{le="+Inf",{scope}}}': 1,
        f"h_sum{{{scope}}}": 2,
        f"h_count{{{scope}}}": 1,
    }


def test_m45_scope_labels_are_the_default() -> None:
    """Who says nothing gets scope labels, the three even where they are empty, and target_info."""
    registry = CollectorRegistry()
    reader = PrometheusMetricReader(registry=registry)
    provider = sdk.MeterProvider([reader], resource=Resource(SHOP), shutdown_on_exit=False)
    provider.get_meter("lib").create_counter("c").add(1)
    text = scrape(registry).text
    provider.shutdown()

    assert 'c_total{otel_scope_name="lib",otel_scope_schema_url="",otel_scope_version=""} 1' in text
    assert 'target_info{service_name="shop"} 1' in text


def test_m45_scopes_that_differ_in_attributes_are_two(rigs: Callable[..., Rig]) -> None:
    """Two scopes make two series."""
    rig = rigs(scope_info_enabled=True)
    rig.meter("lib", attributes={"team": "a"}).create_counter("c").add(1)
    rig.meter("lib", attributes={"team": "b"}).create_counter("c").add(2)

    assert rig.samples() == {
        'c_total{otel_scope_name="lib",otel_scope_team="a"}': 1,
        'c_total{otel_scope_name="lib",otel_scope_team="b"}': 2,
    }


def test_m45_scope_attributes_collide_by_original_key(rigs: Callable[..., Rig]) -> None:
    """Scope attributes and point attributes are joined by their keys."""
    rig = rigs(scope_info_enabled=True)
    meter = rig.meter("lib", attributes={"build.id": "7", "build-id": 8})
    meter.create_counter("c").add(1, {"otel-scope-name": "user"})

    assert rig.samples() == {'c_total{otel_scope_build_id="8;7",otel_scope_name="user;lib"}': 1}


@pytest.mark.parametrize("key", ["name", "version", "schema_url", "schema.url"])
def test_m46_reserved_scope_attributes_are_dropped(rigs: Callable[..., Rig], key: str) -> None:
    """A scope attribute never replaces the scope's own name, version or schema URL."""
    rig = rigs(scope_info_enabled=True)
    meter = rig.meter("lib", schema_url="u", attributes={key: "mine", "team": "core"})
    meter.create_counter("c").add(1)

    assert rig.samples() == {
        'c_total{otel_scope_name="lib",otel_scope_schema_url="u",otel_scope_team="core"}': 1
    }


def test_m47_there_is_no_scope_info(rigs: Callable[..., Rig]) -> None:
    """The info metric of older specifications is gone."""
    rig = rigs(scope_info_enabled=True, target_info_enabled=True)
    rig.meter("lib", version="1").create_counter("c").add(1)

    assert "otel_scope_info" not in rig.scrape().text


def test_m48_scope_labels_can_be_switched_off(rigs: Callable[..., Rig]) -> None:
    """Without scope labels, equal series of two scopes add up."""
    rig = rigs(scope_info_enabled=False)
    rig.meter("a", version="1", attributes={"x": "y"}).create_counter("c").add(1)
    rig.meter("b").create_counter("c").add(2)

    assert rig.samples() == {"c_total": 3}


def test_m49_target_info(rigs: Callable[..., Rig]) -> None:
    """The resource is a gauge of value 1 in the text format."""
    rig = rigs(
        target_info_enabled=True, resource={"service.name": "shop", "host.id": 7, "tags": ["x"]}
    )
    rig.meter().create_counter("c").add(1)

    page = rig.scrape()
    assert page.types["target_info"] == "gauge"
    assert page.helps["target_info"] == "Target metadata"
    assert (
        r'target_info{host_id="7",service_name="shop",tags="[\"x\"]"} 1' in page.text.splitlines()
    )


def test_m49_empty_resource(rigs: Callable[..., Rig]) -> None:
    """A resource without attributes is exposed without labels."""
    rig = rigs(target_info_enabled=True, resource={})
    rig.meter().create_counter("c").add(1)

    assert rig.samples() == {"c_total": 1, "target_info": 1}


def test_m49_not_before_the_first_delivery_and_always_after(rigs: Callable[..., Rig]) -> None:
    """The reader learns the resource from data, and remembers it when there are none."""
    rig = rigs(target_info_enabled=True, resource=SHOP)
    rig.meter().create_observable_gauge("temp", [observing([], [(5, {})], [])])

    assert rig.samples() == {}
    assert rig.samples() == {"temp": 5, 'target_info{service_name="shop"}': 1}
    assert rig.samples() == {'target_info{service_name="shop"}': 1}


def test_m49_off_switch(rigs: Callable[..., Rig]) -> None:
    """The resource can be disabled."""
    rig = rigs(target_info_enabled=False, resource=SHOP)
    rig.meter().create_counter("c").add(1)

    assert rig.samples() == {"c_total": 1}


def test_m50_target_info_has_the_resource_and_nothing_else(rigs: Callable[..., Rig]) -> None:
    """No scope labels, no constant labels, no prefix."""
    options = {"prefix": "app", "scope_info_enabled": True, "target_info_enabled": True}
    rig = rigs(
        **options,
        resource={"service.name": "shop", "k/x": "1", "k.x": "2"},
        resource_constant_labels={},
    )
    rig.meter().create_counter("c").add(1)

    assert rig.scrape().named("target_info") == {'target_info{k_x="2;1",service_name="shop"}': 1}


def test_m51_target_info_follows_the_resource(rigs: Callable[..., Rig]) -> None:
    """After a fork the SDK has another resource; each response exposes the one of its data."""
    rig = rigs(target_info_enabled=True)
    gauge = metric("g", export.Gauge([number_point(1)]))
    hand_over(rig.reader, gauge, resource={"service.instance.id": "a"})
    first = rig.scrape().named("target_info")
    hand_over(rig.reader, gauge, resource={"service.instance.id": "b"})

    assert first == {'target_info{service_instance_id="a"}': 1}
    assert rig.scrape().named("target_info") == {'target_info{service_instance_id="b"}': 1}


@pytest.mark.parametrize("other", ["shop", "till"])
def test_m51_two_readers_show_one_target(rigs: Callable[..., Rig], other: str) -> None:
    """A response has one target: the first reader's."""
    first = rigs(target_info_enabled=True, resource=SHOP)
    second = rigs(
        target_info_enabled=True, resource={"service.name": other}, registry=first.registry
    )
    first.meter().create_counter("a").add(1)
    second.meter().create_counter("b").add(1)

    for _ in range(2):
        assert first.samples() == {
            "a_total": 1,
            "b_total": 1,
            'target_info{service_name="shop"}': 1,
        }


FOUR = {
    "service.name": "shop",
    "service.namespace": "eu",
    "service.instance.id": "i1",
    "host.id": "h",
}


def test_m52_resource_attributes_are_no_labels_by_default(rigs: Callable[..., Rig]) -> None:
    """Without the option nothing is copied."""
    rig = rigs(resource=FOUR)
    rig.meter().create_counter("c").add(1)

    assert rig.samples() == {"c_total": 1}


def test_m52_chosen_resource_attributes_are_labels(rigs: Callable[..., Rig]) -> None:
    """What is copied to every point stays in target_info too."""
    chosen = {"included": ["service.*"], "excluded": ["service.instance.id"]}
    rig = rigs(resource=FOUR, resource_constant_labels=chosen, target_info_enabled=True)
    rig.meter().create_counter("c").add(1)
    rig.meter().create_histogram("h", explicit_bucket_boundaries_advisory=[]).record(2)

    copied = 'service_name="shop",service_namespace="eu"'
    target = 'host_id="h",service_instance_id="i1",service_name="shop",service_namespace="eu"'
    assert rig.samples() == {
        f"c_total{{{copied}}}": 1,
        f'h_bucket{{le="+Inf",{copied}}}': 1,
        f"h_sum{{{copied}}}": 2,
        f"h_count{{{copied}}}": 1,
        f"target_info{{{target}}}": 1,
    }


def test_m52_the_value_of_the_point_wins(rigs: Callable[..., Rig]) -> None:
    """The same key on the point replaces the copy; another key of the same label is joined."""
    rig = rigs(resource=SHOP, resource_constant_labels={"included": ["service.name"]})
    counter = rig.meter().create_counter("c")
    counter.add(1, {"service.name": "point"})
    counter.add(2, {"service_name": "point"})

    assert rig.samples() == {
        'c_total{service_name="point"}': 1,
        'c_total{service_name="shop;point"}': 2,
    }


@pytest.mark.parametrize("option", [{"include": ["x"]}, {"included": []}, {"included": "x"}, ["x"]])
def test_m52_wrong_options_are_refused_at_once(option: Any) -> None:
    """An invalid option raises in the constructor, and leaves nothing in the registry."""
    registry = CollectorRegistry()
    with pytest.raises((TypeError, ValueError)):
        PrometheusMetricReader(registry=registry, resource_constant_labels=option)

    assert scrape(registry).samples == {}


def test_m53_no_job_and_no_instance(rigs: Callable[..., Rig]) -> None:
    """These two labels are set by the server that scrapes."""
    rig = rigs(resource=FOUR, target_info_enabled=True, scope_info_enabled=True)
    rig.meter().create_counter("c").add(1)

    assert not re.search(r'[{,](job|instance)="', rig.scrape().text)
