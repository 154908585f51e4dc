"""Families from strangers: checked, so that one that makes no sense costs itself and no response."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from math import inf
from typing import Any

from otel_aioprom.histogram import HistogramSeries
from otel_aioprom.labels import EXEMPLAR_LIMIT, encodable, exemplar_length, labels_text
from otel_aioprom.model import Exemplar, MetricFamily, Series
from otel_aioprom.names import is_valid_label_name, is_valid_metric_name
from otel_aioprom.native import NativeBuckets
from otel_aioprom.numbers import coerce_number
from otel_aioprom.series import NumberSeries
from otel_aioprom.summary import Quantiles

Check = Callable[[MetricFamily, Any], None]

_EXACT = (int, float)


def well_formed(family: Any) -> MetricFamily:
    """Return a family that every format can write.

    Args:
        family: Whatever a source has given. Its series get the text that their labels have.

    Returns:
        The family itself, or one that is marked as having names that formats must quote or escape.

    Raises:
        TypeError: It is no family, a series is not of the class that its type asks for, or something in it is of
            another type.
        ValueError: It has an impossible name, type, label, value or bucket.
    """
    if not isinstance(family, MetricFamily):
        raise TypeError(f"a source gives families or collectors, not {family!r}")
    _check_head(family)
    cls, check = _KINDS[family.type]
    for series in family.series:
        if not isinstance(series, cls):
            raise TypeError(
                f"{family.name}: series of a {family.type} are {cls.__name__}, not {type(series).__name__}"
            )
        try:
            _check_labels(family, series)
            check(family, series)
            _check_start(series)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{family.name}: {error}") from error
    labels = set().union(*{series.names for series in family.series})
    if family.utf8 or (is_valid_metric_name(family.name) and all(map(is_valid_label_name, labels))):
        return family
    return replace(family, utf8=True)


def _check_head(family: Any) -> None:
    name = family.name
    for part, text in (("name", name), ("doc", family.doc), ("unit", family.unit)):
        if not isinstance(text, str) or encodable(text) != text:
            raise TypeError(f"{name!r}: the {part} of a metric must be text, unlike {text!r}")
    if not name:
        raise ValueError(f"a metric needs a name, unlike {name!r}")
    if family.type not in _KINDS:
        raise ValueError(f"{name}: its type must be one of {sorted(_KINDS)}, not {family.type!r}")
    if not isinstance(family.series, Sequence):
        raise TypeError(f"{name}: its series must be a list, not {type(family.series).__name__}")


def _check_labels(family: MetricFamily, series: Any) -> None:
    names, values = series.names, series.values
    if not (type(names) is type(values) is tuple and len(names) == len(values)):
        raise TypeError("names and values of labels must be two tuples of one length")
    for text in (*names, *values):
        if not isinstance(text, str) or encodable(text) != text:
            raise TypeError(f"names and values of labels must be text, unlike {text!r}")
    taken = _TAKEN.get(family.type)
    for name in names:
        if name in ("", "__name__", taken):
            raise ValueError(f"a label needs a name, and {name!r} is none for a {family.type}")
    if any(first >= second for first, second in pairwise(names)):
        raise ValueError("label names must be sorted, each one once")
    text = labels_text(zip(names, values))
    if series.text != text:
        series.text, series.wire = text, None


def _check_number(_family: MetricFamily, series: NumberSeries) -> None:
    value = series.value
    number = coerce_number(value)
    if number is not value:  # else it may be a live one, on which others record meanwhile
        series.value = number
    if series.exemplar is not None:
        _check_exemplar(series.exemplar)


def _check_one(family: MetricFamily, series: NumberSeries) -> None:
    _check_number(family, series)
    if series.value != 1:
        raise ValueError(f"the value of an info is 1, not {series.value}")


def _check_state(family: MetricFamily, series: NumberSeries) -> None:
    _check_number(family, series)
    if series.value not in (0, 1) or family.name not in series.names:
        raise ValueError(f"a state is a label {family.name!r} with the value 0 or 1")


def _check_histogram(_family: MetricFamily, series: HistogramSeries) -> None:
    (*counts, total), native = series.read()
    bounds = series.bounds
    if len(counts) != len(bounds) or not all(map(_is_count, counts)):
        raise ValueError(f"{len(bounds)} bounds ask for so many counts, not {counts!r}")
    if not bounds or bounds[-1] != inf or any(not low < up for low, up in pairwise(bounds)):
        raise ValueError(f"bounds must ascend up to infinity, unlike {bounds!r}")
    if total is not None:
        _check_exact(total)
    exemplars = series.exemplars
    if exemplars is not None and len(exemplars) != len(bounds):
        raise ValueError(f"{len(bounds)} bounds ask for so many exemplars, not {len(exemplars)}")
    for exemplar in exemplars or ():
        if exemplar is not None:
            _check_exemplar(exemplar)
    if native is not None:
        _check_native(native)


def _check_native(native: Any) -> None:
    if not isinstance(native, NativeBuckets):
        raise TypeError(f"native must be NativeBuckets, not {native!r}")
    if type(native.schema) is not int:
        raise TypeError(f"a schema is an int, unlike {native.schema!r}")
    _check_exact(native.zero_threshold)
    if native.zero_threshold == inf:
        raise ValueError("a zero threshold is finite")
    counts = [native.zero_count]
    for index, count in (*native.positive, *native.negative):
        counts.append(count)
        if type(index) is not int or not -_FARTHEST <= index <= _FARTHEST:
            raise ValueError(f"a native bucket has no index such as {index!r}")
    if not all(map(_is_count, counts)):
        raise ValueError(f"native buckets hold whole numbers of observations, unlike {counts!r}")
    for exemplar in native.exemplars:
        _check_exemplar(exemplar)


def _check_quantiles(_family: MetricFamily, series: Quantiles) -> None:
    count, total = series.snapshot()
    _check_exact(total)
    if not _is_count(count):
        raise ValueError(f"a count must be 0 or more, not {count!r}")
    for quantile, estimate in series.quantiles():
        _check_exact(estimate)
        if not 0 <= quantile <= 1:
            raise ValueError(f"a quantile lies between 0 and 1, unlike {quantile!r}")


def _check_start(series: Series) -> None:
    if series.created is not None:
        _check_exact(series.created)


def _check_exemplar(exemplar: Any) -> None:
    if not isinstance(exemplar, Exemplar):
        raise TypeError(f"an exemplar must be an Exemplar, not {exemplar!r}")
    pairs: Any = exemplar.labels
    for name, value in pairs:
        if not all(isinstance(text, str) and encodable(text) == text for text in (name, value)):
            raise TypeError(f"labels of an exemplar must be text, unlike {name!r}: {value!r}")
    if len(dict(pairs)) != len(pairs) or exemplar_length(pairs) > EXEMPLAR_LIMIT:
        reason = f"each name once, and {EXEMPLAR_LIMIT} code points at most"
        raise ValueError(f"an exemplar has {reason}, unlike {pairs!r}")
    _check_exact(exemplar.value)
    if exemplar.timestamp is not None:
        _check_exact(exemplar.timestamp)


def _check_exact(value: Any) -> None:
    if type(value) not in _EXACT:
        raise TypeError(f"a number must be an int or a float, unlike {value!r}")
    if type(coerce_number(value)) is not type(value):
        raise ValueError(f"{value} is too large")


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= _MOST


_MOST = 2**64 - 1  # what the protobuf format can carry
_FARTHEST = 2**19  # beyond the bucket of infinity in the finest schema
_TAKEN = {"histogram": "le", "summary": "quantile"}
_KINDS: dict[str, tuple[type[Series], Check]] = {
    "counter": (NumberSeries, _check_number),
    "gauge": (NumberSeries, _check_number),
    "untyped": (NumberSeries, _check_number),
    "info": (NumberSeries, _check_one),
    "stateset": (NumberSeries, _check_state),
    "histogram": (HistogramSeries, _check_histogram),
    "summary": (Quantiles, _check_quantiles),
}
