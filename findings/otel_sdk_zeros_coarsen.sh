#!/usr/bin/env bash
# Subject    opentelemetry-sdk 1.45.2
# Behaviour  An exponential histogram that records nothing but zeros between two collections falls to
#            scale 0, buckets that double, for the rest of its life, whatever it knew before. An idle
#            interval, or a zero among other values, does no harm.
# Seen       scale 12 with 3 buckets in use; after one interval of zeros scale 0 with 2 of them
# Matters    One quiet minute (an empty queue, a cached answer) and buckets that were 0.02 % wide double
#            from one to the next, and quantiles with them, until the process is started anew.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

packages venv opentelemetry-sdk==1.45.2

seen=$(run_in venv - <<'PY'
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation

USUAL = (1.0, 1.01, 1.02)


def run(name, between):
    reader = InMemoryMetricReader(preferred_aggregation={Histogram: ExponentialBucketHistogramAggregation()})
    histogram = MeterProvider(metric_readers=[reader]).get_meter("shop").create_histogram("wait")
    seen = []
    for values in (USUAL, between, USUAL):
        for value in values:
            histogram.record(value)
        (scope,) = reader.get_metrics_data().resource_metrics[0].scope_metrics
        point = scope.metrics[0].data.data_points[0]
        seen.append(f"scale {point.scale}, {sum(n > 0 for n in point.positive.bucket_counts)} in use")
    print(name, *seen, sep="; ")


run("idle", ())
run("zero and one", (0.0, 1.0))
run("zero", (0.0,))
PY
)
expect "zeros alone cost the resolution" \
    'idle; scale 12, 3 in use; scale 12, 3 in use; scale 12, 3 in use
zero and one; scale 12, 3 in use; scale 12, 3 in use; scale 12, 3 in use
zero; scale 12, 3 in use; scale 0, 2 in use; scale 0, 2 in use' "$seen"
