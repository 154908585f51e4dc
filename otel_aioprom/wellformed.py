"""Families from strangers: checked, so that one that makes no sense costs itself and no response."""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter
from typing import Any

from otel_aioprom.histogram import HistogramSeries
from otel_aioprom.labels import labels_text
from otel_aioprom.model import MetricFamily, Series
from otel_aioprom.names import is_valid_label_name, is_valid_metric_name
from otel_aioprom.series import NumberSeries
from otel_aioprom.summary import Quantiles

_CLASSES: dict[str, type[Series]] = {
    "counter": NumberSeries,
    "gauge": NumberSeries,
    "untyped": NumberSeries,
    "info": NumberSeries,
    "stateset": NumberSeries,
    "histogram": HistogramSeries,
    "summary": Quantiles,
}
_names_of = attrgetter("names")


def well_formed(family: Any) -> MetricFamily:
    """Return a family that every format can write.

    Args:
        family: Whatever a source has given.

    Returns:
        The family itself, or one that is marked as having names that formats must quote or escape.

    Raises:
        TypeError: It is no family, or its series are not of the class that its type asks for.
        ValueError: It has an impossible name, type or label.
    """
    if not isinstance(family, MetricFamily):
        raise TypeError(f"a source gives families or collectors, not {family!r}")
    name = family.name
    if not name:
        raise ValueError(f"a metric needs a name, unlike {name!r}")
    wanted = _CLASSES.get(family.type)
    if wanted is None:
        raise ValueError(f"{name}: its type must be one of {sorted(_CLASSES)}, not {family.type!r}")
    for cls in set(map(type, family.series)):
        if not issubclass(cls, wanted):
            raise TypeError(
                f"{name}: series of a {family.type} are {wanted.__name__}, not {cls.__name__}"
            )
    labels = set().union(*set(map(_names_of, family.series)))
    if not all(isinstance(label, str) and label for label in labels):
        raise ValueError(f"{name}: a label needs a name: {sorted(map(repr, labels))}")
    if family.utf8 or (is_valid_metric_name(name) and all(map(is_valid_label_name, labels))):
        return family
    series: Any
    for series in family.series:
        series.text = labels_text(series.pairs)  # in which such names stand in quotes
    return replace(family, utf8=True)
