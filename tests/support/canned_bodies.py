"""Complete response bodies for a ``CannedTarget``; see E26, E41, E67, E68."""

from __future__ import annotations

from dataclasses import replace

from canned import Answer

TEXT = Answer(rb"""# HELP app_requests_total Requests, "quoted" \\ and\nnewline.
# TYPE app_requests_total counter
app_requests_total{method="GET",path="/a\"b\\c\nd"} 1027
app_requests_total{method="POST",path=""} 3
# HELP app_temp_celsius Temp.
# TYPE app_temp_celsius gauge
app_temp_celsius -12.5
# HELP target_info Target metadata
# TYPE target_info gauge
target_info{service_name="s"} 1
""")

OPENMETRICS = Answer(
    rb"""# TYPE target info
# HELP target Target metadata
target_info{service_name="s"} 1
# TYPE app_requests counter
# HELP app_requests Requests, \"quoted\" \\ and\nnewline.
app_requests_total{method="GET",path="/a\"b\\c\nd"} 1027 # {trace_id="0af7"} 1 1700000000.5
app_requests_created{method="GET",path="/a\"b\\c\nd"} 1600000000.25
app_requests_total{method="POST",path=""} 3
app_requests_created{method="POST",path=""} 1600000000.25
# TYPE app_lat_seconds histogram
# UNIT app_lat_seconds seconds
# HELP app_lat_seconds Latency.
app_lat_seconds_bucket{le="0.005"} 0
app_lat_seconds_bucket{le="1.0"} 2 # {} 0.75
app_lat_seconds_bucket{le="+Inf"} 3 # {trace_id="a",span_id="b"} 4.5 1700000000.5
app_lat_seconds_count 3
app_lat_seconds_sum 6.25
app_lat_seconds_created 1600000000.25
# EOF
""",
    "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores",
)

GAUGE = bytes.fromhex("12 0a0167 1801 220b 1209 09000000000000f83f")
COUNTER = bytes.fromhex(
    "4e 0a07615f746f74616c 120168 1800 223e 0a060a0178120131 1a34 090000000000001440"
    "1221 0a0e0a0874726163655f696412026162 11000000000000f03f 1a060880e2cfaa06"
    "1a060880a0f8fa05"
)
SUMMARY = bytes.fromhex(
    "28 0a0173 1802 2221 221f 0803 1100000000000018401a12 09000000000000e03f 110000000000000040"
)
HISTOGRAM = bytes.fromhex(
    "21 0a0168 1804 221a 3a18 0803 110000000000001840 1a0b 0801 11000000000000f03f"
)
NATIVE = bytes.fromhex(
    "69 0a0b7270635f7365636f6e6473 120168 1804 224c 0a080a016d1203474554"
    "3a40 0806 116666666666663240 2806 31000000000000f037 3801 4a0408001001 5002"
    "620408031002 620408061001 6804 6801 6800 7a0c 0880e2cfaa06 1080cab5ee01"
    "2a077365636f6e6473"
)
PROTOBUF = Answer(
    GAUGE + COUNTER + SUMMARY + HISTOGRAM + NATIVE,
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
)


def varint(number: int) -> bytes:
    """Encode a number as a varint."""
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def with_created(answer: Answer, created: int) -> Answer:
    """Return a response with another start timestamp of the series, in Unix seconds.

    Prometheus stores no start time that is more than an hour ago.
    """
    body = answer.body.replace(b"1600000000.25", b"%d.0" % created)
    body = body.replace(varint(1600000000), varint(created))
    # Of the counter 1700000000 is the time of the exemplar.
    recent = NATIVE.replace(varint(1700000000), varint(created))
    return replace(answer, body=body.replace(NATIVE, recent))
