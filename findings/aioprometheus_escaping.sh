#!/usr/bin/env bash
# Subject    aioprometheus 23.12.0, read by prometheus-client 0.26.0
# Behaviour  Quotes in label values and line ends in help texts are written as they are.
# Seen       searches_total{term="7" nails"} 1
# Matters    Both are allowed in values and texts, but not so in the format: one such value, from a user's
#            search for example, makes the whole page unreadable, and with it every other metric.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

packages venv aioprometheus==23.12.0 prometheus-client==0.26.0

seen=$(run_in venv - <<'PY'
from aioprometheus import Counter, Gauge, Registry
from aioprometheus.renderer import render
from prometheus_client.parser import text_string_to_metric_families


def show(registry):
    text = render(registry, ["text/plain"])[0].decode().rstrip("\n")
    try:
        list(text_string_to_metric_families(text))
        verdict = "read"
    except ValueError:
        verdict = "refused"
    print(text, verdict, sep="\n")


quotes, lines = Registry(), Registry()
Counter("searches_total", "Searches.", registry=quotes).inc({"term": '7" nails'})
show(quotes)
Gauge("stock", "Nails in stock.\nBoxes are not opened.", registry=lines).set({}, 3)
show(lines)
PY
)
expect "values and texts break the page" \
    '# HELP searches_total Searches.
# TYPE searches_total counter
searches_total{term="7" nails"} 1
refused
# HELP stock Nails in stock.
Boxes are not opened.
# TYPE stock gauge
stock 3
refused' "$seen"
