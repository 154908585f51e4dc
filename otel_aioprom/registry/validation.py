"""Validation of families from user code, so that an invalid one is dropped alone and breaks no response."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from math import inf
from typing import Any

from otel_aioprom._concurrency.user_code import safe_repr
from otel_aioprom._core.exemplars import EXEMPLAR_LIMIT, exemplar_length
from otel_aioprom._core.labels import encodable, labels_text
from otel_aioprom._core.model import Exemplar, MetricFamily, Series
from otel_aioprom._core.names import is_valid_label_name, is_valid_metric_name
from otel_aioprom._core.native_histogram import NativeBuckets
from otel_aioprom._core.numbers import coerce_number
from otel_aioprom.collectors import (
    Collector,
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    StateSet,
    Summary,
)
from otel_aioprom.collectors.quantiles.summary_point import Quantiles
from otel_aioprom.collectors.series.classic_histogram import HistogramSeries
from otel_aioprom.collectors.series.number import NumberSeries

OWN_KINDS = frozenset({Collector, Counter, Enum, Gauge, Histogram, Info, StateSet, Summary})
"""Classes of collectors whose families are valid; those of subclasses must be checked."""

Check = Callable[[MetricFamily, Any], None]

_EXACT = (int, float)


def well_formed(family: Any, seen: set[int] | None = None) -> MetricFamily:
    """Return a family that every format can write.

    Args:
        family: What a source has returned. The ``text`` of its series is written anew from their labels, and their
            ``wire`` is cleared, because it may have been written for another type.
        seen: Ids of the series of other families in the same response; those of this one are added. Series that are
            shared with another family are copied.

    Returns:
        The family with a tuple of its series, and with ``utf8`` set if formats must quote or escape one of its names.

    Raises:
        TypeError: It is not a family, a series is not of the library's class for its type, or a value has a wrong type.
        ValueError: A name, type, label, value or bucket is invalid.
    """
    if not isinstance(family, MetricFamily):
        raise TypeError(f"a source must return families or collectors, not {safe_repr(family)}")
    name, kind, doc, unit = family.name, family.type, family.doc, family.unit
    _check_head(name, kind, doc, unit)
    if not isinstance(family.series, Sequence):
        raise TypeError(f"{name}: its series must be a list, not {type(family.series).__name__}")
    copied = MetricFamily(name, kind, doc, unit, tuple(family.series), family.utf8 is True)
    for series in copied.series:
        try:
            _check_series(copied, series)
        except (TypeError, ValueError) as error:
            cause = TypeError if isinstance(error, TypeError) else ValueError
            raise cause(f"{name}: {error}") from error
    copied = copied if seen is None else replace(copied, series=_unshared(copied.series, seen))
    labels = set().union(*{series.names for series in copied.series})
    if copied.utf8 or (is_valid_metric_name(name) and all(map(is_valid_label_name, labels))):
        return copied
    return replace(copied, utf8=True)


def _unshared(every: Sequence[Series], seen: set[int]) -> Sequence[Series]:
    """Copy series that another family has too: what a format keeps in ``wire`` is written for one type."""
    ids = {id(series) for series in every}
    shared = ids & seen
    seen |= ids
    if not shared:
        return every
    return [
        series.renamed(series.names, series.values, series.text) if id(series) in shared else series
        for series in every
    ]


def _check_head(name: Any, kind: Any, doc: Any, unit: Any) -> None:
    for part, text in (("name", name), ("type", kind), ("doc", doc), ("unit", unit)):
        if not _is_valid_str(text):
            raise TypeError(
                f"{safe_repr(name)}: the {part} of a metric must be a valid str, not {safe_repr(text)}"
            )
    if not name:
        raise ValueError("a metric needs a name")
    if kind not in _KINDS:
        raise ValueError(f"{name}: its type must be one of {sorted(_KINDS)}, not {kind!r}")


def _is_valid_str(text: object) -> bool:
    return type(text) is str and encodable(text) == text


def _check_series(family: MetricFamily, series: Any) -> None:
    cls, check = _KINDS[family.type]
    # Classes that `expiring_class` and `with_lock` create have the module of their base class.
    if not isinstance(series, cls) or not type(series).__module__.startswith(_PACKAGE):
        raise TypeError(
            f"series of a {family.type} must be {cls.__name__}, not {type(series).__name__}"
        )
    _check_labels(family, series)
    check(family, series)
    if series.created is not None:
        _check_exact(series.created)


def _check_labels(family: MetricFamily, series: Any) -> None:
    names, values = series.names, series.values
    if not (type(names) is type(values) is tuple and len(names) == len(values)):
        raise TypeError("label names and values must be two tuples of the same length")
    for text in (*names, *values):
        if not _is_valid_str(text):
            raise TypeError(f"label names and values must be valid strings, not {safe_repr(text)}")
    taken = _TAKEN.get(family.type)
    for name in names:
        if name in ("", "__name__", taken):
            raise ValueError(f"a label of a {family.type} must not be called {name!r}")
    if any(first >= second for first, second in pairwise(names)):
        raise ValueError("label names must be sorted, each one once")
    series.text, series.wire = labels_text(zip(names, values)), None


def _check_number(_family: MetricFamily, series: NumberSeries) -> None:
    value = series.value
    number = coerce_number(value)
    if number is not value:  # else others may be recording on the series
        series.value = number
    if series.exemplar is not None:
        _check_exemplar(series.exemplar)


def _check_one(family: MetricFamily, series: NumberSeries) -> None:
    _check_number(family, series)
    if series.value != 1:
        raise ValueError(f"the value of an info must be 1, not {series.value}")


def _check_state(family: MetricFamily, series: NumberSeries) -> None:
    _check_number(family, series)
    if series.value not in (0, 1) or family.name not in series.names:
        raise ValueError(f"a state must have a label {family.name!r} and the value 0 or 1")


def _check_histogram(_family: MetricFamily, series: HistogramSeries) -> None:
    (*counts, total), native = series.read()
    bounds = series.bounds
    if len(counts) != len(bounds) or not all(map(_is_count, counts)):
        raise ValueError(f"{len(bounds)} bounds need as many counts, not {counts!r}")
    for bound in bounds:
        _check_exact(bound)
    if sum(counts) > _MOST:
        raise ValueError(f"a histogram holds at most {_MOST} observations, not {counts!r}")
    if not bounds or bounds[-1] != inf or any(not low < up for low, up in pairwise(bounds)):
        raise ValueError(f"bounds must ascend up to infinity, not {bounds!r}")
    if total is not None:
        _check_exact(total)
    exemplars = series.exemplars
    if exemplars is not None and len(exemplars) != len(bounds):
        raise ValueError(f"{len(bounds)} bounds need as many exemplars, not {len(exemplars)}")
    for exemplar in exemplars or ():
        if exemplar is not None:
            _check_exemplar(exemplar)
    if native is not None:
        _check_native(native)


def _check_native(native: Any) -> None:
    if type(native) is not NativeBuckets:
        raise TypeError(f"native must be NativeBuckets, not {native!r}")
    if type(native.schema) is not int:
        raise TypeError(f"a schema must be an int, not {native.schema!r}")
    _check_exact(native.zero_threshold)
    if native.zero_threshold == inf:
        raise ValueError("a zero threshold must be finite")
    counts = [native.zero_count]
    for index, count in (*native.positive, *native.negative):
        counts.append(count)
        if type(index) is not int or not -_FARTHEST <= index <= _FARTHEST:
            raise ValueError(f"a native bucket cannot have the index {index!r}")
    if not all(map(_is_count, counts)) or sum(counts) > _MOST:
        raise ValueError(f"native buckets must hold whole numbers of observations, not {counts!r}")
    for exemplar in native.exemplars:
        _check_exemplar(exemplar)


def _check_quantiles(_family: MetricFamily, series: Quantiles) -> None:
    count, total = series.snapshot()
    _check_exact(total)
    if not _is_count(count):
        raise ValueError(f"a count must be 0 or more, not {count!r}")
    quantiles = list(series.quantiles())
    if len(dict(quantiles)) != len(quantiles):
        raise ValueError(f"a quantile must not occur twice, as in {quantiles!r}")
    for quantile, estimate in quantiles:
        _check_exact(quantile)
        _check_exact(estimate)
        if not 0 <= quantile <= 1:
            raise ValueError(f"a quantile must lie between 0 and 1, not {quantile!r}")


def _check_exemplar(exemplar: Any) -> None:
    if type(exemplar) is not Exemplar:
        raise TypeError(f"an exemplar must be an Exemplar, not {exemplar!r}")
    pairs: Any = exemplar.labels
    for name, value in pairs:
        if not (_is_valid_str(name) and _is_valid_str(value)):
            raise TypeError(f"labels of an exemplar must be valid strings, not {name!r}: {value!r}")
    if len(dict(pairs)) != len(pairs) or exemplar_length(pairs) > EXEMPLAR_LIMIT:
        rule = f"each name once, and at most {EXEMPLAR_LIMIT} code points"
        raise ValueError(f"the labels of an exemplar must have {rule}, not {pairs!r}")
    _check_exact(exemplar.value)
    if exemplar.timestamp is not None:
        _check_exact(exemplar.timestamp)


def _check_exact(value: Any) -> None:
    if type(value) not in _EXACT:
        raise TypeError(f"a number must be an int or a float, not {value!r}")
    if type(coerce_number(value)) is not type(value):
        raise ValueError(f"{value} is too large")


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= _MOST


_MOST = 2**64 - 1  # what the protobuf format can carry
_PACKAGE = "otel_aioprom."
_FARTHEST = 2**19  # beyond the bucket of infinity in the highest schema
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
