"""Exemplars that lead to traces."""

from __future__ import annotations

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

from otel_aioprom.collectors import Counter
from otel_aioprom.otel.tracing import trace_exemplar


def test_the_ids_of_the_active_span() -> None:
    """In hexadecimal digits, all of them."""
    tracer = TracerProvider(sampler=ALWAYS_ON).get_tracer("t")
    counter = Counter("c_total", "C.", exemplars=trace_exemplar)
    with tracer.start_as_current_span("s") as span:
        counter.inc()
        context = span.get_span_context()
    exemplar = counter.labels().exemplar

    assert exemplar is not None
    assert dict(exemplar.labels) == {
        "trace_id": f"{context.trace_id:032x}",
        "span_id": f"{context.span_id:016x}",
    }


def test_spans_that_are_not_sampled_lead_nowhere() -> None:
    """Nor does where there is none."""
    counter = Counter("c_total", "C.", exemplars=trace_exemplar)
    counter.inc()
    with TracerProvider(sampler=ALWAYS_OFF).get_tracer("t").start_as_current_span("s"):
        assert trace_exemplar() is None
        counter.inc()

    assert counter.get() == 2
    assert counter.labels().exemplar is None
