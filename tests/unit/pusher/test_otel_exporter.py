"""The exporter, in the hands of the SDK."""

from __future__ import annotations

import logging
import re
import threading
from typing import Any

import pytest
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation
from opentelemetry.sdk.resources import Resource

from gateway import Answer, Gateway, Hold
from oracles import DEADLINE
from otel_aioprom.pusher.otel_exporter import PushMetricExporter
from processes import free_port
from pushed import QUICK, families_in

SUCCESS, FAILURE = sdk.MetricExportResult.SUCCESS, sdk.MetricExportResult.FAILURE


def provider_of(exporter: PushMetricExporter) -> MeterProvider:
    """A provider that exports on demand."""
    reader = sdk.PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    return MeterProvider([reader], resource=Resource({"service.name": "shop"}))


def data_of(name: str = "x") -> Any:
    """What the SDK collects of a counter."""
    reader = sdk.InMemoryMetricReader()
    MeterProvider([reader]).get_meter("m").create_counter(name).add(1)
    return reader.get_metrics_data()


def test_each_export_is_a_push() -> None:
    """It replaces the group; what is cumulative stays so."""
    with Gateway() as gateway:
        provider = provider_of(PushMetricExporter("worker", gateway.url))
        counter = provider.get_meter("m").create_counter("jobs", unit="s")
        counter.add(2, {"queue": "mail"})
        assert provider.force_flush()
        counter.add(3, {"queue": "mail"})
        provider.shutdown()
    first, last = gateway.requests

    assert (first.method, first.path) == ("PUT", "/metrics/job/worker")
    assert families_in(last) == {"jobs_seconds_total", "target_info"}
    sample = re.compile(r'^jobs_seconds_total\{.*queue="mail"\} (.*)$', re.MULTILINE)
    assert [sample.findall(push.text) for push in (first, last)] == [["2"], ["5"]]


def test_aggregations_are_as_preferred() -> None:
    """By class of instrument."""
    bounds = ExplicitBucketHistogramAggregation([1.0, 2.0])
    with Gateway() as gateway:
        exporter = PushMetricExporter("j", gateway.url, preferred_aggregation={Histogram: bounds})
        provider = provider_of(exporter)
        provider.get_meter("m").create_histogram("h").record(1.5)
        provider.shutdown()
    counts = [line for line in gateway.last.text.splitlines() if line.startswith("h_bucket")]

    assert [line.rpartition(" ")[2] for line in counts] == ["0", "1", "1"]


def test_an_export_returns_its_outcome(caplog: pytest.LogCaptureFixture) -> None:
    """A line is logged when exports begin to fail, and one when they work again."""
    caplog.set_level(logging.INFO, "otel_aioprom")
    with Gateway(Answer(400, "why"), Answer(400, "again"), Answer(202)) as gateway:
        exporter = PushMetricExporter("j", gateway.url)
        found = [exporter.export(data_of()) for _ in range(4)]

    assert found == [FAILURE, FAILURE, SUCCESS, SUCCESS]
    assert [each.levelname for each in caplog.records] == ["WARNING", "INFO"]
    assert "why" in caplog.messages[0]


def test_an_unreachable_gateway_fails_the_export_in_time() -> None:
    """No longer than the SDK gives it."""
    exporter = PushMetricExporter("j", f"http://127.0.0.1:{free_port()}")

    assert exporter.export(data_of(), timeout_millis=200) is FAILURE


def test_pushes_are_retried() -> None:
    """By the retry policy, or within the timeout of the export."""
    with Gateway(Answer(500), Answer(500)) as gateway:
        assert PushMetricExporter("j", gateway.url, retry=QUICK).export(data_of()) is SUCCESS

    assert len(gateway.requests) == 3


def test_nothing_is_exported_after_the_shutdown() -> None:
    """A second one does nothing."""
    with Gateway() as gateway:
        exporter = PushMetricExporter("j", gateway.url)
        exporter.shutdown()
        exporter.shutdown()
        assert exporter.export(data_of()) is FAILURE

    assert gateway.requests == []


def test_the_group_is_deleted_on_shutdown_if_enabled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Once; a gateway that refuses, or is unreachable, is logged."""
    with Gateway() as gateway:
        provider = provider_of(PushMetricExporter("j", gateway.url, delete_on_shutdown=True))
        provider.get_meter("m").create_counter("x").add(1)
        provider.shutdown()
    assert gateway.methods == ["PUT", "DELETE"]

    with Gateway(default=Answer(405, "not here")) as gateway:
        PushMetricExporter("j", gateway.url, delete_on_shutdown=True).shutdown()
    assert "the group could not be deleted on shutdown" in caplog.text
    assert "status 405: not here" in caplog.text
    caplog.clear()

    away = f"http://127.0.0.1:{free_port()}"
    PushMetricExporter("j", away, delete_on_shutdown=True, retry=QUICK).shutdown()
    assert "the group could not be deleted on shutdown" in caplog.text


def test_metrics_that_are_gone_may_stay() -> None:
    """With ``add``."""
    with Gateway() as gateway:
        PushMetricExporter("j", gateway.url, method="add").export(data_of())

    assert gateway.methods == ["POST"]


def test_a_flush_waits_for_an_export_under_way() -> None:
    """But not for ever."""
    hold = Hold()
    with Gateway(Answer(hold=hold)) as gateway:
        exporter = PushMetricExporter("j", gateway.url)
        exporting = threading.Thread(target=exporter.export, args=(data_of(),))
        exporting.start()
        gateway.wait_for(1)
        assert not exporter.force_flush(timeout_millis=20)
        hold.let_go()
        assert exporter.force_flush(timeout_millis=1000 * DEADLINE)
        exporting.join(DEADLINE)
        assert exporter.force_flush()


def test_metrics_are_translated_with_the_options() -> None:
    """With the options of the reader."""
    translation = {"prefix": "app", "scope_info_enabled": False, "target_info_enabled": False}
    with Gateway() as gateway:
        exporter = PushMetricExporter("j", gateway.url, translation=translation)  # type: ignore[arg-type]
        exporter.export(data_of("a.b"))

    assert gateway.last.text.splitlines()[-1] == "app_a_b_total 1"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "put"}, ValueError, "method must be"),
        ({"translation": {"prefixx": "a"}}, TypeError, "prefixx"),
        ({"grouping_key": {"bad-label": "1"}}, ValueError, "bad-label"),
        ({"headers": {"X-Tenant": "a\r\nb"}}, ValueError, "X-Tenant"),
    ],
)
def test_wrong_options_are_rejected(options: Any, error: type[Exception], message: str) -> None:
    """At once, by their name."""
    with pytest.raises(error, match=message):
        PushMetricExporter("j", "http://h", **options)
