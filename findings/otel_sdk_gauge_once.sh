#!/usr/bin/env bash
# Subject    opentelemetry-sdk 1.44.0 (1.27.0, 1.39.1, 1.40.0 and 1.41.0 are alike), beside 1.45.2
# Behaviour  A synchronous gauge is in the first collection after `set` only; up-down counters stay. From
#            1.45 on it stays, too.
# Seen       1.44.0: level 5, then nothing; 1.45.2: level 5, level 5
# Matters    A value that changes seldom is a series with gaps: `absent()` alerts fire, and with two
#            scrapers each misses what the other has got.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

cat >"$FOLDER/set_once.py" <<'PY'
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

reader = InMemoryMetricReader()
meter = MeterProvider(metric_readers=[reader]).get_meter("tank")
meter.create_gauge("level").set(5)
meter.create_up_down_counter("used").add(1)
for _ in range(3):
    (scope,) = reader.get_metrics_data().resource_metrics[0].scope_metrics
    print(*(f"{m.name}={m.data.data_points[0].value}" for m in scope.metrics))
PY

packages venv opentelemetry-sdk==1.44.0
expect "1.44.0: in one collection of three" 'level=5 used=1
used=1
used=1' "$(run_in venv "$FOLDER/set_once.py")"
packages venv opentelemetry-sdk==1.45.2
expect "1.45.2: in all three" 'level=5 used=1
level=5 used=1
level=5 used=1' "$(run_in venv "$FOLDER/set_once.py")"
