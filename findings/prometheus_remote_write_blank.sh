#!/usr/bin/env bash
# Subject    Prometheus 3.5.3 (Debian 3.5.3+ds1-6), receiver of remote write
# Behaviour  A blank after the semicolon of the Content-Type, which HTTP allows and many libraries
#            write, makes it read a message of version 2.0 as one of 1.0: 204, and nothing is stored.
# Seen       without blank: 204, samples written 1; with it: 204, no count, no series
# Matters    The sender sees success while every sample is lost. Only the missing header
#            X-Prometheus-Remote-Write-Samples-Written tells.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

debian prometheus=3.5.3+ds1-6

port=$(free_port)
echo '{}' >"$FOLDER/prometheus.yml"
server "$FOLDER/debian/usr/bin/prometheus" --config.file="$FOLDER/prometheus.yml" \
    --storage.tsdb.path="$FOLDER/data" --web.listen-address="127.0.0.1:$port" --web.enable-remote-write-receiver
ready "http://127.0.0.1:$port/-/ready"

seen=$(timeout 30 python3 - "http://127.0.0.1:$port/api/v1/write" <<'PY'
import struct
import sys
import time
import urllib.request


def varint(n):
    return bytes([n & 127 | 128]) + varint(n >> 7) if n > 127 else bytes([n])


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def message(name):
    sample = b"\x09" + struct.pack("<d", 1) + b"\x10" + varint(int(time.time() * 1000))
    symbols = field(4, b"") + field(4, b"__name__") + field(4, name)
    return symbols + field(5, field(1, b"\x01\x02") + field(2, sample))


def snappy(plain):  # one literal
    return varint(len(plain)) + bytes([(len(plain) - 1) << 2]) + plain


for name, separator in ((b"tight", ";"), (b"blank", "; ")):
    headers = {
        "Content-Type": f"application/x-protobuf{separator}proto=io.prometheus.write.v2.Request",
        "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Write-Version": "2.0.0",
    }
    request = urllib.request.Request(sys.argv[1], snappy(message(name)), headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        print(name.decode(), response.status, response.headers["X-Prometheus-Remote-Write-Samples-Written"])
PY
)
expect "both are answered with success" $'tight 204 1\nblank 204 None' "$seen"
expect "one is stored" "tight 1" "$(query_until "$port" '{__name__=~".+"}')"
