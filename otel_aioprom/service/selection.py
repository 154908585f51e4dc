"""Which families a response shows: what an endpoint offers, and what a request names."""

from __future__ import annotations

from collections.abc import Collection

from otel_aioprom._core.escaping import Escaping, escape_metric_name
from otel_aioprom._core.model import MetricFamily
from otel_aioprom._core.patterns import Patterns
from otel_aioprom.formats.openmetrics import openmetrics_names


class Selection:
    """The families that one response shows.

    Args:
        offered: What the endpoint shows at all, by name in the text format, escaped or not.
        names: Names of families or samples that the request asks for; none asks for all.
        escaping: How the response writes names: they can be asked for by what it calls them.

    Spec:
        E59.
    """

    def __init__(self, offered: Patterns, names: Collection[str], escaping: Escaping) -> None:
        self._offered = offered
        self._names = frozenset(names)
        self._escaping = escaping

    def __call__(self, family: MetricFamily) -> bool:
        """Tell whether a family is to be shown; a name shows the whole family that it belongs to."""
        if not self._offered.matches(family.name, escape_metric_name(family.name, self._escaping)):
            return False
        return not self._names or not self._names.isdisjoint(self._names_of(family))

    def _names_of(self, family: MetricFamily) -> set[str]:
        names = {*family.taken_names(), *openmetrics_names(family)}
        return names | {escape_metric_name(name, self._escaping) for name in names}
