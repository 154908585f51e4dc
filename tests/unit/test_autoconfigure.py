"""Readers that the SDK creates from the environment or from a configuration file."""

from __future__ import annotations

import logging
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import Resource

from oracles import DEADLINE
from otel_aioprom import autoconfigure
from otel_aioprom.autoconfigure import FILE, HOST, PORT, AutoPrometheusMetricReader
from otel_aioprom.collectors import Gauge
from otel_aioprom.errors import ConfigurationError, ServiceNotRunningError
from otel_aioprom.otel.reader import PrometheusMetricReader
from otel_aioprom.registry import CollectorRegistry
from processes import free_port, wait_until


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment without our variables."""
    for name in (HOST, PORT, FILE):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture
def readers() -> Iterator[list[AutoPrometheusMetricReader]]:
    """Readers that are shut down at the end."""
    created: list[AutoPrometheusMetricReader] = []
    yield created
    for reader in created:
        reader.shutdown()


def fetch(url: str) -> str:
    """Scrape without an event loop."""
    with urllib.request.urlopen(url, timeout=DEADLINE) as response:
        return str(response.read().decode())


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        (None, None, ("localhost", 9464)),
        ("", "", ("localhost", 9464)),
        (" ", " ", ("localhost", 9464)),
        ("127.0.0.1", "9999", ("127.0.0.1", 9999)),
        ("0.0.0.0", "0", ("0.0.0.0", 0)),  # noqa: S104 - nothing listens there
        ("localhost", " 9465 ", ("localhost", 9465)),
    ],
)
def test_m73_m78_the_address_from_the_environment(
    environment: pytest.MonkeyPatch, host: Any, port: Any, expected: Any, caplog: Any
) -> None:
    """An empty value counts as absent."""
    if host is not None:
        environment.setenv(HOST, host)
        environment.setenv(PORT, port)

    assert autoconfigure._address({}) == expected
    assert caplog.records == []


@pytest.mark.parametrize("port", ["abc", "-1", "65536", "9464.0", "٣", "1e3", "0x10"])
def test_m73_an_invalid_port_warns(
    environment: pytest.MonkeyPatch, port: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And the default is used."""
    environment.setenv(PORT, port)

    assert autoconfigure._address({}) == ("localhost", 9464)
    [record] = caplog.records
    assert (record.levelno, PORT in record.getMessage()) == (logging.WARNING, True)


def test_m76_a_file_overrides_the_environment(environment: pytest.MonkeyPatch) -> None:
    """Even if the file has no host."""
    environment.setenv(HOST, "elsewhere")
    environment.setenv(PORT, "1")
    environment.setenv(FILE, "otel.yaml")

    assert autoconfigure._address({}) == ("localhost", 9464)
    assert autoconfigure._address({"host": "h", "port": 7}) == ("h", 7)


@pytest.mark.parametrize(
    "group", ["opentelemetry_metrics_exporter", "opentelemetry_pull_metric_exporter"]
)
def test_m74_m75_the_entry_points_name_a_class(group: str) -> None:
    """A reader without required arguments; there is no other entry point."""
    mine = [each for each in entry_points(group=group) if each.value.startswith("otel_aioprom")]

    assert [each.name for each in mine] == ["otel_aioprom"]
    assert mine[0].load() is AutoPrometheusMetricReader
    assert issubclass(AutoPrometheusMetricReader, (MetricReader, PrometheusMetricReader))


def test_m74_it_serves_metrics_of_the_sdk_and_of_native_collectors(
    readers: list[AutoPrometheusMetricReader],
) -> None:
    """In its own thread, until it is shut down."""
    registry = CollectorRegistry()
    Gauge("native", "N.", registry=registry).set({}, 2)
    reader = AutoPrometheusMetricReader(registry=registry, host="127.0.0.1", port=0)
    readers.append(reader)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    provider.get_meter("m").create_counter("jobs").add(3)
    url = reader.service.metrics_url
    text = fetch(url)

    assert "native 2\n" in text
    assert 'jobs_total{otel_scope_name="m"' in text
    provider.shutdown()
    with pytest.raises(ServiceNotRunningError):
        _ = reader.service.metrics_url
    with pytest.raises(OSError, match=r"refused|10061"):
        fetch(url)


def test_m79_the_port_is_free_after_the_shutdown(
    readers: list[AutoPrometheusMetricReader],
) -> None:
    """A second shutdown does nothing."""
    port = free_port()
    for _ in range(2):
        reader = AutoPrometheusMetricReader(
            registry=CollectorRegistry(), host="127.0.0.1", port=port
        )
        readers.append(reader)
        assert reader.service.base_url == f"http://127.0.0.1:{port}"
        reader.shutdown(timeout_millis=100)
        reader.shutdown()


def test_m74_a_taken_port_means_the_next_one(
    readers: list[AutoPrometheusMetricReader], caplog: pytest.LogCaptureFixture
) -> None:
    """One line names the process and its port: whoever has metrics can be reached."""
    with socket.socket() as taken:
        port = free_port()
        taken.bind(("127.0.0.1", port))
        taken.listen()
        reader = AutoPrometheusMetricReader(
            registry=CollectorRegistry(), host="127.0.0.1", port=port
        )
        readers.append(reader)
        provider = MeterProvider([reader], shutdown_on_exit=False)
        provider.get_meter("m").create_counter("c").add(1)
        wait_until(lambda: bool(caplog.records))
    [record] = caplog.records
    url = reader.service.metrics_url
    assert record.getMessage() == (
        f"metrics of this process ({os.getpid()}) are served at {url}: another process has port {port}"
    )
    assert port < int(url.rpartition(":")[2].removesuffix("/metrics")) < port + 100
    assert record.levelno == logging.WARNING


def test_m74_an_address_that_cannot_be_bound_is_logged(
    readers: list[AutoPrometheusMetricReader], caplog: pytest.LogCaptureFixture
) -> None:
    """In one line without a trace; the reader works without its server."""
    registry = CollectorRegistry()
    reader = AutoPrometheusMetricReader(registry=registry, host="no.such.host.invalid", port=0)
    readers.append(reader)
    [record] = caplog.records
    words = f"metrics of this process ({os.getpid()}) are not served: "
    assert record.getMessage().startswith(words)
    assert (record.levelno, record.exc_info) == (logging.ERROR, None)
    MeterProvider([reader], shutdown_on_exit=False).get_meter("m").create_counter("c").add(1)
    assert any(family.name == "c_total" for family in registry.gather().families)


@pytest.mark.parametrize("accept_encoding", ["identity", "gzip"])
def test_a_reader_without_provider_answers_503(
    readers: list[AutoPrometheusMetricReader], accept_encoding: str
) -> None:
    """Not an empty page with 200: the target is down until the set-up of the SDK is complete."""
    reader = AutoPrometheusMetricReader(registry=CollectorRegistry(), host="127.0.0.1", port=0)
    readers.append(reader)
    url = reader.service.metrics_url
    for _ in range(3):  # the service's own metrics of earlier scrapes are no content
        request = urllib.request.Request(url, headers={"Accept-Encoding": accept_encoding})
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=DEADLINE)
        with caught.value as answer:
            assert answer.code == 503
            assert b"no MeterProvider has the OpenTelemetry reader" in answer.read()
    MeterProvider([reader], shutdown_on_exit=False).get_meter("m").create_counter("c").add(1)

    assert "c_total{" in fetch(url)


def test_a_reader_without_provider_costs_only_itself(
    readers: list[AutoPrometheusMetricReader],
) -> None:
    """Native collectors of the same registry are exposed."""
    registry = CollectorRegistry()
    Gauge("native", "N.", registry=registry).set({}, 2)
    reader = AutoPrometheusMetricReader(registry=registry, host="127.0.0.1", port=0)
    readers.append(reader)

    assert "native 2\n" in fetch(reader.service.metrics_url)


def test_m75_m76_keys_of_a_configuration_file(readers: list[AutoPrometheusMetricReader]) -> None:
    """Each has its effect; ``null`` counts as absent."""
    registry = CollectorRegistry()
    keys: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": 0,
        "scope_info_enabled": False,
        "target_info_enabled/development": False,
        "resource_constant_labels": {"included": ["service*"], "excluded": ["service.attr1"]},
        "translation_strategy": "no_utf8_escaping_with_suffixes/development",
    }
    reader = AutoPrometheusMetricReader(registry=registry, **keys)
    readers.append(reader)
    resource = Resource({"service.name": "shop", "service.attr1": "x", "other": "y"})
    provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    provider.get_meter("m").create_counter("my.jobs").add(1)
    [family] = [each for each in registry.gather().families if "jobs" in each.name]

    assert family.name == "my.jobs_total"
    assert dict(family.series[0].pairs) == {"service.name": "shop"}
    assert not any(each.name.startswith("target") for each in registry.gather().families)
    nulls: dict[str, Any] = dict.fromkeys(keys)
    assert autoconfigure._options(nulls) == {}


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("prot", 1, "did you mean port?"),
        ("scope_info", True, "did you mean scope_info_enabled?"),
        ("without_scope_info", True, "did you mean scope_info_enabled?"),
        ("without_target_info/development", True, "did you mean target_info_enabled?"),
        ("with_resource_constant_labels", {}, "did you mean resource_constant_labels?"),
        ("without_units", True, "did you mean translation_strategy?"),
        ("port", "9464", "a number from 0 to 65535 is needed"),
        ("port", True, "a number from 0 to 65535 is needed"),
        ("port", 70_000, "a number from 0 to 65535 is needed"),
        ("host", "", "a host name or address is needed"),
        ("host", 7, "a host name or address is needed"),
        ("scope_info_enabled", "yes", "true or false is needed"),
        ("translation_strategy", "no_escaping", "one of underscore_escaping_with_suffixes"),
        ("translation_strategy", 3, "one of underscore_escaping_with_suffixes"),
        ("resource_constant_labels", ["a"], "lists 'included' and 'excluded' are needed"),
    ],
)
def test_m75_invalid_keys_raise(key: str, value: Any, reason: str) -> None:
    """The error suggests a valid key or value."""
    with pytest.raises(ConfigurationError, match="configuration of otel_aioprom: ") as caught:
        AutoPrometheusMetricReader(registry=CollectorRegistry(), **{key: value})

    assert (caught.value.key, reason in caught.value.reason) == (key, True)


def test_a_repeated_key_raises() -> None:
    """With and without ``/development``."""
    keys: dict[str, Any] = {"target_info_enabled": True, "target_info_enabled/development": True}
    with pytest.raises(ConfigurationError, match="given twice"):
        AutoPrometheusMetricReader(registry=CollectorRegistry(), **keys)
