"""Pages of metrics in the style of known servers, written for the tests, and collectors that show the same."""

from __future__ import annotations

import re
from itertools import groupby
from typing import Any

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from otel_aioprom.collectors import Collector, Counter, Gauge, Histogram, Summary
from otel_aioprom.registry import CollectorRegistry

BROKER = r"""
# HELP queue_message_in Messages put into queues.
# TYPE queue_message_in counter
queue_message_in{node="broker@127.0.0.1"} 9007199254740993
# TYPE queue_message_out counter
queue_message_out{node="broker@127.0.0.1"} 12
# HELP mqtt_connack_sent Answers to a client's first packet.
# TYPE mqtt_connack_sent counter
mqtt_connack_sent{mqtt_version="4",node="broker@127.0.0.1",return_code="accepted"} 7
mqtt_connack_sent{mqtt_version="5",node="broker@127.0.0.1",reason_code="not \"authorized\""} 0
# TYPE socket_open counter
socket_open{node="broker@127.0.0.1"} 41
# TYPE socket_close counter
socket_close{node="broker@127.0.0.1"} 40
# TYPE active_sessions gauge
active_sessions{node="broker@127.0.0.1"} 1
# TYPE retain_messages gauge
retain_messages{node="broker@127.0.0.1"} -0.0
# TYPE system_gc_count counter
system_gc_count{node="broker@127.0.0.1"} 3.5
# TYPE vm_memory_total gauge
vm_memory_total{node="broker@127.0.0.1"} 1.5e+08
# TYPE store_read_microseconds histogram
store_read_microseconds_bucket{le="10",node="broker@127.0.0.1"} 2
store_read_microseconds_bucket{le="100.5",node="broker@127.0.0.1"} 5
store_read_microseconds_bucket{le="+Inf",node="broker@127.0.0.1"} 6
store_read_microseconds_sum{node="broker@127.0.0.1"} 1234.25
store_read_microseconds_count{node="broker@127.0.0.1"} 6
"""
"""As of a message broker: counters without ``_total``, one of them called a count; a gauge called a total."""

PROXY = r"""
# TYPE cluster_upstream_rq counter
cluster_upstream_rq{cluster="a",response_code="200"} 1
# TYPE cluster_upstream_rq_total counter
cluster_upstream_rq_total{cluster="a"} 500
# TYPE cluster_upstream_rq_xx counter
cluster_upstream_rq_xx{cluster="a",response_code_class="2"} 499
# TYPE cluster_upstream_rq_active gauge
cluster_upstream_rq_active{cluster="a"} 2
# TYPE cluster_upstream_cx_total counter
cluster_upstream_cx_total{cluster="a"} 3
# TYPE cluster_upstream_cx gauge
cluster_upstream_cx{cluster="a"} 1
# TYPE cluster_upstream_rq_time histogram
cluster_upstream_rq_time_bucket{cluster="a",le="0.5"} 0
cluster_upstream_rq_time_bucket{cluster="a",le="1"} 10
cluster_upstream_rq_time_bucket{cluster="a",le="3.6e+06"} 499
cluster_upstream_rq_time_bucket{cluster="a",le="+Inf"} 500
cluster_upstream_rq_time_sum{cluster="a"} 1.7e+07
cluster_upstream_rq_time_count{cluster="a"} 500
# TYPE cluster_upstream_rq_time_total counter
cluster_upstream_rq_time_total{cluster="a"} 17000000.5
# TYPE cluster_upstream_rq_time_count_total counter
cluster_upstream_rq_time_count_total{cluster="a"} 11
# TYPE cluster_manager_cluster_created counter
cluster_manager_cluster_created 4
# TYPE cluster_manager_cluster counter
cluster_manager_cluster 5
# TYPE server_version gauge
server_version 1.4027e+07
"""
"""As of a proxy: pairs of counters, of gauge and counter, and a counter called created."""

RUNTIME = r"""
# HELP go_gc_duration_seconds A summary of pauses.
# TYPE go_gc_duration_seconds summary
go_gc_duration_seconds{quantile="0.25"} 0.25
go_gc_duration_seconds{quantile="0.5"} 0.25
go_gc_duration_seconds{quantile="0.9"} 0.25
go_gc_duration_seconds_sum 1
go_gc_duration_seconds_count 4
# TYPE go_goroutines gauge
go_goroutines 8
# HELP go_info Information about the environment, with a \\ and a\nnew line.
# TYPE go_info gauge
go_info{version="go1.22"} 1
# TYPE go_memstats_alloc_bytes gauge
go_memstats_alloc_bytes 2.5e+06
# TYPE go_memstats_alloc_bytes_total counter
go_memstats_alloc_bytes_total 1.25e+09
# TYPE go_memstats_gc_cpu_fraction gauge
go_memstats_gc_cpu_fraction NaN
# TYPE go_memstats_last_gc_time_seconds gauge
go_memstats_last_gc_time_seconds 1.7000000001234567e+09
# TYPE go_sched_latencies_seconds histogram
go_sched_latencies_seconds_bucket{le="6.399999999999999e-08"} 3
go_sched_latencies_seconds_bucket{le="+Inf"} 3
go_sched_latencies_seconds_sum 0
go_sched_latencies_seconds_count 3
# TYPE process_virtual_memory_max_bytes gauge
process_virtual_memory_max_bytes 1.8446744073709552e+19
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{code="200",handler="/",le="0.1"} 1
http_request_duration_seconds_bucket{code="200",handler="/",le="+Inf"} 2
http_request_duration_seconds_sum{code="200",handler="/"} 3.5
http_request_duration_seconds_count{code="200",handler="/"} 2
# TYPE http_request_duration_seconds_total counter
http_request_duration_seconds_total{code="200",handler="/"} 3.5
"""
"""As of a Go program: gauge and counter of one name, and a summary."""

BEANS = r"""
# TYPE jvm_threads_started_total gauge
jvm_threads_started_total 33
# TYPE jvm_memory_bytes_used gauge
jvm_memory_bytes_used{area="heap"} 1.2345678e+07
jvm_memory_bytes_used{area="nonheap"} -1
# TYPE jvm_gc_collection_seconds summary
jvm_gc_collection_seconds_sum{gc="G1 Young"} 1.5
jvm_gc_collection_seconds_count{gc="G1 Young"} 6
# TYPE jvm_gc_collection_seconds_created gauge
jvm_gc_collection_seconds_created{gc="G1 Young"} 1.7e+09
# TYPE http_requests_total counter
http_requests_total{method="get"} 3
# TYPE http_requests_created gauge
http_requests_created{method="get"} 1.7e+09
# HELP jvm_info VM version info
# TYPE jvm_info gauge
jvm_info{runtime="OpenJDK",version="21"} 1
# TYPE kafka_server_BrokerTopicMetrics_Count untyped
kafka_server_BrokerTopicMetrics_Count{name="MessagesInPerSec",topic="a,b=c"} 1000
# TYPE kafka_network_RequestMetrics_TotalTimeMs untyped
kafka_network_RequestMetrics_TotalTimeMs{quantile="0.95",request="Fetch"} 500.5
# TYPE kafka_log_size untyped
kafka_log_size{le="x",topic="\u00fc"} +Inf
# TYPE kafka_log_size_total untyped
kafka_log_size_total -Inf
# TYPE jmx:scrape_error gauge
jmx:scrape_error 0
"""
"""As of an exporter of Java's beans: gauges called total and created, untyped metrics with odd labels."""

PAGES = {
    "broker": BROKER,
    "proxy": PROXY,
    "runtime": RUNTIME,
    "beans": BEANS.replace(r"\u00fc", "ü"),
}


_BLOCK = re.compile(r"(?:# HELP .*\n)?# TYPE (\S+) .*\n(?:[^#].*\n)+")


def registry_of(page: str) -> CollectorRegistry:
    """Return a registry with one collector for each family of a page, which shows the same."""
    registry = CollectorRegistry()
    for block in _BLOCK.finditer(page):
        # One by one, and with the name of the page: the parser gives each counter's family and samples other names.
        (family,) = text_string_to_metric_families(block[0])
        family.name = block[1]
        _MAKERS[family.type](family, registry)
    return registry


def _number(kind: Any) -> Any:
    def make(family: Metric, registry: CollectorRegistry) -> None:
        collector = kind(family.name, family.documentation, registry=registry)
        for sample in family.samples:
            collector.set_value(sample.labels, sample.value)

    return make


def _groups(family: Metric, own: str) -> list[tuple[dict[str, str], list[Sample]]]:
    """Return the samples of each series of a histogram or summary, by its labels without ``own``."""

    def labels(sample: Sample) -> dict[str, str]:
        return {name: value for name, value in sample.labels.items() if name != own}

    return [(key, list(samples)) for key, samples in groupby(family.samples, labels)]


def _histogram(family: Metric, registry: CollectorRegistry) -> None:
    for labels, samples in _groups(family, "le"):
        cumulative = [sample for sample in samples if "le" in sample.labels]
        bounds = [float(sample.labels["le"]) for sample in cumulative[:-1]]
        total = next(sample.value for sample in samples if sample.name.endswith("_sum"))
        counts = [int(sample.value) for sample in cumulative]
        own = [count - before for count, before in zip(counts, [0, *counts], strict=False)]
        collector = Histogram(family.name, family.documentation, buckets=bounds, registry=registry)
        collector.labels(labels).load(own, total)


def _summary(family: Metric, registry: CollectorRegistry) -> None:
    for labels, samples in _groups(family, "quantile"):
        numbers = {sample.name.rpartition("_")[2]: sample.value for sample in samples}
        quantiles = [
            float(each.labels["quantile"]) for each in samples if "quantile" in each.labels
        ]
        invariants = [(quantile, 0.01) for quantile in quantiles]
        collector = Summary(family.name, family.documentation, invariants=invariants, registry=registry)  # fmt: skip
        for _ in range(int(numbers["count"])):  # all the same, so that each quantile is that
            collector.observe(labels, numbers["sum"] / numbers["count"])


_MAKERS = {
    "counter": _number(Counter),
    "gauge": _number(Gauge),
    "unknown": _number(Collector),
    "histogram": _histogram,
    "summary": _summary,
}
