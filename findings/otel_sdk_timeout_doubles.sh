#!/usr/bin/env bash
# Subject    opentelemetry-sdk 1.45.2
# Behaviour  A collection that runs out of time in a slow callback keeps what quicker ones had observed, and
#            the next collection adds its own to it: an observable counter shows twice its value, once.
# Seen       bytes_sent 100, then a timeout, then 200, then 100
# Matters    The fall back to 100 looks like a restart, so rate() and increase() count 200 bytes that never were.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

packages venv opentelemetry-sdk==1.45.2

seen=$(run_in venv - <<'PY'
import time

from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider, MetricsTimeoutError
from opentelemetry.sdk.metrics.export import InMemoryMetricReader


def sent(options):
    return [Observation(100)]


def slow(options):
    time.sleep(0.2)
    return [Observation(1)]


reader = InMemoryMetricReader()
meter = MeterProvider(metric_readers=[reader]).get_meter("disk")
meter.create_observable_counter("bytes_sent", [sent])
meter.create_observable_gauge("first_disk", [slow])
meter.create_observable_gauge("second_disk", [slow])  # time is looked at before each instrument


def value():
    (scope,) = reader.get_metrics_data().resource_metrics[0].scope_metrics
    return next(m.data.data_points[0].value for m in scope.metrics if m.name == "bytes_sent")


print(value())
try:
    reader.collect(timeout_millis=50)
except MetricsTimeoutError:
    print("timeout")
print(value(), value(), sep="\n")
PY
)
expect "what was observed before a timeout counts twice" $'100\ntimeout\n200\n100' "$seen"
