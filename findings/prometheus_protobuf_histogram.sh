#!/usr/bin/env bash
# Subject    Prometheus 3.5.3 (Debian 3.5.3+ds1-6)
# Behaviour  Native histograms are switched off, but another feature makes it ask for protobuf. Of a
#            histogram that has classic and native buckets it then stores neither; one with classic
#            buckets alone is stored.
# Seen       up 1, and the series of `plain`; nothing of `both`
# Matters    Switching on created-timestamp-zero-ingestion takes histograms away, while the
#            target is up. always_scrape_classic_histograms brings them back.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

debian prometheus=3.5.3+ds1-6

mkdir "$FOLDER/pages"
python3 - "$FOLDER/pages/metrics" <<'PY'
import struct
import sys


def field(number, content):
    return bytes([number << 3 | 2, len(content)]) + content


def double(number, value):
    return bytes([number << 3 | 1]) + struct.pack("<d", value)


def bucket(count, bound):
    return field(3, bytes([0x08, count]) + double(2, bound))


classic = b"\x08\x03" + double(2, 4.5) + bucket(2, 1.0) + bucket(3, float("inf"))
native = b"\x28\x00" + double(6, 2.0**-128) + field(12, b"\x08\x00\x10\x02") + b"\x68\x04\x68\x01"
with open(sys.argv[1], "wb") as page:
    for name, histogram in ((b"plain", classic), (b"both", classic + native)):
        family = field(1, name) + b"\x18\x04" + field(4, field(7, histogram))
        page.write(bytes([len(family)]) + family)
PY
cat >"$FOLDER/serve.py" <<'PY'
import http.server
import sys

handler = http.server.SimpleHTTPRequestHandler
message = "io.prometheus.client.MetricFamily"
handler.extensions_map[""] = f"application/vnd.google.protobuf; proto={message}; encoding=delimited"
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), handler).serve_forever()
PY
page=$(free_port)
(cd "$FOLDER/pages" && exec timeout 100 python3 "$FOLDER/serve.py" "$page" 2>/dev/null) &
PIDS+=("$!")
port=$(free_port)
echo "{global: {scrape_interval: 1s}, scrape_configs: [{job_name: shop, static_configs: [{targets: ['127.0.0.1:$page']}]}]}" \
    >"$FOLDER/prometheus.yml"
server "$FOLDER/debian/usr/bin/prometheus" --config.file="$FOLDER/prometheus.yml" --storage.tsdb.path="$FOLDER/data" \
    --web.listen-address="127.0.0.1:$port" --enable-feature=created-timestamp-zero-ingestion
ready "http://127.0.0.1:$port/-/ready"

query_until "$port" 'scrape_samples_scraped' >/dev/null
expect "the target is up" "up 1" "$(query "$port" up)"
expect "of two histograms one is stored" "plain_count 3" "$(query "$port" '{__name__=~"(plain|both)(_count)?"}')"
