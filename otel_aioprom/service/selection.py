"""Selection of families: the patterns of an endpoint, and the names in a request."""

from __future__ import annotations

from collections.abc import Collection

from otel_aioprom._core.escaping import Escaping, escape_metric_name
from otel_aioprom._core.model import MetricFamily
from otel_aioprom._core.patterns import Patterns
from otel_aioprom.formats.openmetrics_names import openmetrics_names


class Selection:
    """Selects the families of one response.

    Args:
        patterns: Which families the endpoint exposes, by name in the text format, escaped or not.
        names: Names of families or samples in the request; none selects all.
        escaping: How the response writes names: a request may use escaped names too.

    Spec:
        E59.
    """

    def __init__(self, patterns: Patterns, names: Collection[str], escaping: Escaping) -> None:
        self._patterns = patterns
        self._names = frozenset(names)
        self._escaping = escaping

    def __call__(self, family: MetricFamily) -> bool:
        """Return whether to expose a family; the name of a sample selects its whole family."""
        if not self._patterns.matches(family.name, escape_metric_name(family.name, self._escaping)):
            return False
        return not self._names or not self._names.isdisjoint(self._names_of(family))

    def _names_of(self, family: MetricFamily) -> set[str]:
        names = {*family.taken_names(), *openmetrics_names(family)}
        return names | {escape_metric_name(name, self._escaping) for name in names}
