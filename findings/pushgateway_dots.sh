#!/usr/bin/env bash
# Subject    Pushgateway 1.11.2 (Debian 1.11.2-1), and requests 2.34.2 or httpx 0.28.1 before it
# Behaviour  A grouping label whose value is `..` is cleaned out of the path, though it is percent-encoded:
#            301, to the group without that label. requests follows by itself and sends no body again, and
#            a PUT without body empties a group; httpx, told to follow, replaces the group's metrics.
# Seen       after requests.put(…/job/nightly/dir/%2E%2E): 200, and the metrics of the group `nightly` are gone
# Matters    Values such as a relative folder are nothing odd, and each of the two programs reports success.
#            A value of dots arrives as base64: /dir@base64/Li4
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

packages venv requests==2.34.2 httpx==0.28.1
debian prometheus-pushgateway=1.11.2-1

port=$(free_port)
server "$FOLDER/debian/usr/bin/prometheus-pushgateway" --web.listen-address="127.0.0.1:$port"
ready "http://127.0.0.1:$port/-/ready"

seen=$(run_in venv - "http://127.0.0.1:$port/metrics" <<'PY'
import sys

import httpx
import requests

gateway = sys.argv[1]


def show(what, status):
    lines = requests.get(gateway, timeout=10).text.splitlines()
    print(what, status, *(line for line in lines if line.startswith("rows")))


def begin():
    requests.put(f"{gateway}/job/nightly", "rows_all 5\n", timeout=10)


begin()
answer = httpx.put(f"{gateway}/job/nightly/dir/%2E%2E", content="rows 1\n", timeout=10)
show("unfollowed", f"{answer.status_code} {answer.headers['location']}")
answer = httpx.put(f"{gateway}/job/nightly/dir/%2E%2E", content="rows 1\n", timeout=10, follow_redirects=True)
show("httpx", answer.status_code)
begin()
show("requests", requests.put(f"{gateway}/job/nightly/dir/%2E%2E", "rows 1\n", timeout=10).status_code)
begin()
show("base64", requests.put(f"{gateway}/job/nightly/dir@base64/Li4", "rows 1\n", timeout=10).status_code)
PY
)
expect "another group is hit" \
    'unfollowed 301 /metrics/job/nightly rows_all{instance="",job="nightly"} 5
httpx 200 rows{instance="",job="nightly"} 1
requests 200
base64 200 rows{dir="..",instance="",job="nightly"} 1 rows_all{instance="",job="nightly"} 5' "$seen"
