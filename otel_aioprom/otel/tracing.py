"""Exemplars of native collectors that lead to traces."""

from __future__ import annotations

from opentelemetry import trace


def trace_exemplar() -> dict[str, str] | None:
    """Return the ids of the active span if it is sampled, for ``exemplars=`` of a collector.

    Returns:
        ``trace_id`` and ``span_id`` in hexadecimal digits, or ``None`` where there is no such span.

    Spec:
        M62.

    Examples:
        >>> from otel_aioprom.collectors import Counter
        >>> requests = Counter("requests_total", "Requests served.", exemplars=trace_exemplar)
        >>> requests.inc()
    """
    context = trace.get_current_span().get_span_context()
    if not (context.is_valid and context.trace_flags.sampled):
        return None
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
