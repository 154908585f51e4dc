#!/usr/bin/env bash
# Subject    prometheus-client 0.26.0, multi-process mode
# Behaviour  A process that merely imports the module where a gauge without labels is made takes part in
#            the gauge's `min` and `max` with a 0 that nobody set.
# Seen       free_slots (min) 0.0 where the one process that set it set 5; balance (max) 0.0 where it set -5
# Matters    A worker that is idle, or has just started, turns the least of all values into 0: alerts on
#            free places, remaining days, temperatures fire after each restart.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

packages venv prometheus-client==0.26.0
export PROMETHEUS_MULTIPROC_DIR=$FOLDER/values
mkdir "$PROMETHEUS_MULTIPROC_DIR"

cat >"$FOLDER/measures.py" <<'PY'
from prometheus_client import Gauge

FREE_SLOTS = Gauge("free_slots", "Free slots.", multiprocess_mode="min")
BALANCE = Gauge("balance", "Balance.", multiprocess_mode="max")
BY_ZONE = Gauge("free_by_zone", "Free slots.", ["zone"], multiprocess_mode="min")
PY
cat >"$FOLDER/show.py" <<'PY'
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

registry = CollectorRegistry()
MultiProcessCollector(registry)
print(*sorted(line for line in generate_latest(registry).decode().splitlines() if line[0] != "#"), sep="\n")
PY

set_all='import measures; measures.FREE_SLOTS.set(5); measures.BALANCE.set(-5); measures.BY_ZONE.labels("a").set(5)'
(cd "$FOLDER" && run_in venv -c "$set_all")
expect "one process" $'balance -5.0\nfree_by_zone{zone="a"} 5.0\nfree_slots 5.0' "$(run_in venv "$FOLDER/show.py")"
(cd "$FOLDER" && run_in venv -c 'import measures')
expect "and one that has set nothing" $'balance 0.0\nfree_by_zone{zone="a"} 5.0\nfree_slots 0.0' \
    "$(run_in venv "$FOLDER/show.py")"
