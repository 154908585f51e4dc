#!/usr/bin/env bash
# Subject    opentelemetry-exporter-prometheus-remote-write 0.66b1, opentelemetry-sdk 1.45.1, into
#            Prometheus 3.5.3 (Debian 3.5.3+ds1-6)
# Behaviour  A histogram's buckets are written one by one instead of added up, under the bare name
#            instead of _bucket, and the bucket that ends at 0 has no `le` at all.
# Seen       wait 1 / wait le=1 2 / wait le=10 1 / wait le=+Inf 1 / wait_count 5 / wait_sum 56
# Matters    histogram_quantile finds nothing at wait_bucket, and at wait it takes 2, 1, 1 for rising
#            counts. The default bounds begin with 0, so every histogram has the series without `le`.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

packages venv opentelemetry-exporter-prometheus-remote-write==0.66b1 opentelemetry-sdk==1.45.1
debian prometheus=3.5.3+ds1-6

port=$(free_port)
echo '{}' >"$FOLDER/prometheus.yml"
server "$FOLDER/debian/usr/bin/prometheus" --config.file="$FOLDER/prometheus.yml" \
    --storage.tsdb.path="$FOLDER/data" --web.listen-address="127.0.0.1:$port" --web.enable-remote-write-receiver
ready "http://127.0.0.1:$port/-/ready"

run_in venv - "http://127.0.0.1:$port/api/v1/write" <<'PY'
import sys

from opentelemetry.exporter.prometheus_remote_write import PrometheusRemoteWriteMetricsExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

exporter = PrometheusRemoteWriteMetricsExporter(sys.argv[1], resources_as_labels=False)
provider = MeterProvider(metric_readers=[PeriodicExportingMetricReader(exporter, 1e9)])
meter = provider.get_meter("shop")
wait = meter.create_histogram("wait", explicit_bucket_boundaries_advisory=[0, 1, 10])
for seconds in (0, 0.5, 0.5, 5, 50):
    wait.record(seconds)
provider.force_flush()
PY

seen=$(query_until "$port" '{__name__=~"wait.*"}')
expect "five observations in buckets of 0, 1 and 10" "$(sort <<'STATED'
wait 1
wait le=1 2
wait le=10 1
wait le=+Inf 1
wait_count 5
wait_sum 56
STATED
)" "$seen"
