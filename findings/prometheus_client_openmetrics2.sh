#!/usr/bin/env bash
# Subject    prometheus-client 0.26.0
# Behaviour  Whoever asks for OpenMetrics 2.0.0 (or 9.0.0) gets a body of 1.0 under that number.
# Seen       Content-Type … version=2.0.0 …, with `# TYPE jobs counter`, `jobs_total`, `jobs_created`,
#            `wait_bucket{le="1.0"}`, where 2.0 has `# TYPE jobs_total counter`, `st@…` and one line a histogram
# Matters    A reader that goes by the Content-Type reads counters without their type and buckets as series
#            of their own; the version says nothing about the body.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

packages venv prometheus-client==0.26.0

seen=$(run_in venv - <<'PY'
import threading
import urllib.request

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server

registry = CollectorRegistry()
Counter("jobs", "Jobs.", registry=registry).inc()
Histogram("wait", "Wait.", buckets=[1], registry=registry).observe(0.5)
server, thread = start_http_server(0, "127.0.0.1", registry)
for version in ("1.0.0", "2.0.0", "9.0.0"):
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.server_port}/metrics",
        headers={"Accept": f"application/openmetrics-text;version={version}"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        kind = response.headers["Content-Type"].split("; ")[1]
        names = [line.split()[0] for line in response.read().decode().splitlines() if line[0] != "#"]
    print(kind, *names)
server.shutdown()
PY
)
body='jobs_total jobs_created wait_bucket{le="1.0"} wait_bucket{le="+Inf"} wait_count wait_sum wait_created'
expect "one body under three numbers" \
    "version=1.0.0 $body
version=2.0.0 $body
version=9.0.0 $body" "$seen"
