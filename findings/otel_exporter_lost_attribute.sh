#!/usr/bin/env bash
# Subject    opentelemetry-exporter-prometheus 0.66b2, opentelemetry-sdk 1.45.2
# Behaviour  Two attribute keys of one point that become one label name: one of the values is gone. The
#            rules for the translation (OpenTelemetry's compatibility specification) join them.
# Seen       hits_total{peer_zone="west"} 1.0, from {"peer.zone": "east", "peer_zone": "west"}
# Matters    A dashboard shows half of what was recorded, and points that differ in the lost value alone
#            become one series that is there several times.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

packages venv opentelemetry-exporter-prometheus==0.66b2 opentelemetry-sdk==1.45.2 prometheus-client==0.26.0

seen=$(run_in venv - <<'PY'
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry, generate_latest

registry = CollectorRegistry()
reader = PrometheusMetricReader(True, scope_info_enabled=False, registry=registry)
hits = MeterProvider(metric_readers=[reader]).get_meter("shop").create_counter("hits")
hits.add(1, {"peer.zone": "east", "peer_zone": "west"})
hits.add(5, {"peer.zone": "north", "peer_zone": "west"})
print(*(line for line in generate_latest(registry).decode().splitlines() if line[0] != "#"), sep="\n")
PY
)
expect "east and north are lost, and their series has two values" \
    'hits_total{peer_zone="west"} 1.0
hits_total{peer_zone="west"} 5.0' "$seen"
