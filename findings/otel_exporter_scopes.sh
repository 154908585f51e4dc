#!/usr/bin/env bash
# Subject    opentelemetry-exporter-prometheus 0.66b2, opentelemetry-sdk 1.45.2, prometheus-client 0.26.0
# Behaviour  Two scopes have a counter of one name with other attribute keys. With one description, the
#            values of the second one's labels stand under the label names of the first: a status code
#            is the scope's name. With two descriptions, the family is there twice.
# Seen       requests_total{otel_scope_name="200",otel_scope_schema_url="mail",otel_scope_version="",path=""} 2.0
# Matters    Queries by label find the wrong series, or none, and nothing is logged; a parser that is
#            strict refuses a page that has a family twice.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

packages venv opentelemetry-exporter-prometheus==0.66b2 opentelemetry-sdk==1.45.2 prometheus-client==0.26.0

cat >"$FOLDER/two_scopes.py" <<'PY'
import sys

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry, generate_latest

registry = CollectorRegistry()
provider = MeterProvider(metric_readers=[PrometheusMetricReader(True, registry=registry)])
for scope, description, amount, attributes in (
    ("shop", sys.argv[1], 1, {"path": "/cart"}),
    ("mail", sys.argv[2], 2, {"code": "200"}),
):
    counter = provider.get_meter(scope).create_counter("requests", description=description)
    counter.add(amount, attributes)
print(generate_latest(registry).decode(), end="")
PY

seen=$(run_in venv "$FOLDER/two_scopes.py" Requests. Requests. | grep -v '^#')
expect "one description: values stand under other labels" \
    'requests_total{otel_scope_name="shop",otel_scope_schema_url="",otel_scope_version="",path="/cart"} 1.0
requests_total{otel_scope_name="200",otel_scope_schema_url="mail",otel_scope_version="",path=""} 2.0' "$seen"

seen=$(run_in venv "$FOLDER/two_scopes.py" Requests. Mails. | grep '^#')
expect "two descriptions: one family twice" \
    '# HELP requests_total Requests.
# TYPE requests_total counter
# HELP requests_total Mails.
# TYPE requests_total counter' "$seen"
