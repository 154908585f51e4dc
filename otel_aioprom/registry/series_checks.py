"""Checks of series from user code: what costs the series, and what costs only an exemplar or another part of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import inf
from typing import Any

from otel_aioprom._concurrency.user_code import FAILURES, raise_if_exit, safe_repr, safe_str
from otel_aioprom._core.exemplars import EXEMPLAR_LIMIT, exemplar_length
from otel_aioprom._core.labels import encodable
from otel_aioprom._core.model import Exemplar, Series
from otel_aioprom._core.native_histogram import NativeBuckets
from otel_aioprom._core.numbers import coerce_number
from otel_aioprom.collectors.quantiles.summary_point import Quantiles
from otel_aioprom.collectors.series.classic_histogram import HistogramSeries
from otel_aioprom.collectors.series.number import NumberSeries

Drop = Callable[[str, str], None]
"""Notes that a part of a series is dropped: which part, and why."""

_EXACT = (int, float)


def is_valid_str(text: object) -> bool:
    """Return whether an object is a plain ``str`` that UTF-8 can encode."""
    return type(text) is str and (text.isascii() or encodable(text) == text)


def check_labels(kind: str, names: Any, values: Any, valid: tuple[str, ...]) -> None:
    """Raise if a series of a type cannot have these labels.

    Args:
        kind: The type.
        names: Label names.
        values: Their values.
        valid: Names that are valid for this type, usually those of the series before.

    Raises:
        TypeError: They are not two tuples of valid strings.
        ValueError: A name is reserved, or the names are not sorted.
    """
    if not (type(names) is type(values) is tuple and len(names) == len(values)):
        raise TypeError("label names and values must be two tuples of the same length")
    for text in (*names, *values):
        if not (type(text) is str and text.isascii()) and not is_valid_str(text):
            raise TypeError(f"label names and values must be valid strings, not {safe_repr(text)}")
    if names == valid:
        return
    taken = _TAKEN.get(kind)
    for name in names:
        if name in ("", "__name__", taken):
            raise ValueError(f"a label of a {kind} must not be called {name!r}")
    if any(first >= second for first, second in pairwise(names)):
        raise ValueError("label names must be sorted, each one once")


def check_number(_name: str, series: Any, drop: Drop) -> Any:
    """Check the value of a series, and convert it to a plain number; each of these checks does so for its class.

    Args:
        _name: The family's name.
        series: The series.
        drop: Called for each part that is dropped.

    Returns:
        The series, or a copy without what was dropped.

    Raises:
        TypeError: A value has a wrong type.
        ValueError: A value is invalid.
    """
    value = series.value
    number = coerce_number(value)
    if number is not value:  # else others may be recording on the series
        series.value = number
    if series.exemplar is None or (reason := _flaw(_check_exemplar, series.exemplar)) is None:
        return series
    drop("exemplar", reason)
    return _copy(series, exemplar=None)


def check_one(name: str, series: NumberSeries, drop: Drop) -> Any:
    """Check an info; see ``check_number``."""
    series = check_number(name, series, drop)
    if series.value != 1:
        raise ValueError(f"the value of an info must be 1, not {series.value}")
    return series


def check_state(name: str, series: NumberSeries, drop: Drop) -> Any:
    """Check a state; see ``check_number``."""
    series = check_number(name, series, drop)
    if series.value not in (0, 1) or name not in series.names:
        raise ValueError(f"a state must have a label {name!r} and the value 0 or 1")
    return series


def check_histogram(_name: str, series: HistogramSeries, drop: Drop) -> Any:
    """Check a histogram; see ``check_number``. Invalid native buckets leave the classic ones."""
    (*counts, total), native = series.read()
    bounds = series.bounds
    if len(counts) != len(bounds) or not all(map(_is_count, counts)):
        raise ValueError(f"{len(bounds)} bounds need as many counts, not {safe_repr(counts)}")
    for bound in bounds:
        check_exact(bound)
    if sum(counts) > _MOST:
        raise ValueError(f"a histogram holds at most {_MOST} observations, not {counts!r}")
    if not bounds or bounds[-1] != inf or any(not low < up for low, up in pairwise(bounds)):
        raise ValueError(f"bounds must ascend up to infinity, not {bounds!r}")
    if total is not None:
        check_exact(total)
    if series.exemplars is not None:
        series = _with_valid_exemplars(series, drop)
    return series if native is None else _with_valid_native(series, native, counts, total, drop)


def _with_valid_exemplars(series: HistogramSeries, drop: Drop) -> Any:
    exemplars: Any = series.exemplars
    bounds = series.bounds
    if not isinstance(exemplars, Sequence) or len(exemplars) != len(bounds):
        drop("exemplar", f"{len(bounds)} bounds need as many exemplars, not {safe_repr(exemplars)}")
        return _copy(series, exemplars=None)
    reasons = [None if one is None else _flaw(_check_exemplar, one) for one in exemplars]
    if not any(reasons):
        return series
    for reason in filter(None, reasons):
        drop("exemplar", reason)
    kept = [None if reason else one for one, reason in zip(exemplars, reasons)]
    return _copy(series, exemplars=kept)


def _with_valid_native(
    series: HistogramSeries, native: NativeBuckets, counts: Sequence[int], total: Any, drop: Drop
) -> Any:
    reason = _flaw(_check_native, native, sum(counts), total)
    if reason is not None:
        drop("native buckets", reason)
        return _copy(series, native=None)
    reasons = [_flaw(_check_exemplar, one) for one in native.exemplars]
    if not any(reasons):
        return series
    for reason in filter(None, reasons):
        drop("exemplar", reason)
    kept = [one for one, reason in zip(native.exemplars, reasons) if not reason]
    parts = native.schema, native.zero_threshold, native.zero_count
    return _copy(series, native=NativeBuckets(*parts, native.positive, native.negative, kept))


def _check_native(native: Any, observed: int, total: Any) -> None:
    if type(native) is not NativeBuckets:
        raise TypeError(f"native must be NativeBuckets, not {safe_repr(native)}")
    if type(native.schema) is not int:
        raise TypeError(f"a schema must be an int, not {native.schema!r}")
    check_exact(native.zero_threshold)
    if native.zero_threshold == inf:
        raise ValueError("a zero threshold must be finite")
    counts = [native.zero_count]
    for index, count in (*native.positive, *native.negative):
        counts.append(count)
        if type(index) is not int or not -_FARTHEST <= index <= _FARTHEST:
            raise ValueError(f"a native bucket cannot have the index {index!r}")
    if not all(map(_is_count, counts)) or sum(counts) > _MOST:
        raise ValueError(f"native buckets must hold whole numbers of observations, not {counts!r}")
    held = sum(counts)
    if held > observed or (held < observed and total == total):  # noqa: PLR0124 - NaN is in none
        raise ValueError(f"native buckets count {held} observations, classic ones {observed}")
    iter(native.exemplars)


def check_quantiles(_name: str, series: Quantiles, _drop: Drop) -> Any:
    """Check a summary; see ``check_number``."""
    count, total = series.snapshot()
    if total is not None:
        check_exact(total)
    if count is not None and not _is_count(count):
        raise ValueError(f"a count must be 0 or more, not {safe_repr(count)}")
    quantiles = list(series.quantiles())
    if not quantiles and count is total is None:
        raise ValueError("a summary needs quantiles, a count or a sum")
    if len(dict(quantiles)) != len(quantiles):
        raise ValueError(f"a quantile must not occur twice, as in {quantiles!r}")
    for quantile, estimate in quantiles:
        check_exact(quantile)
        check_exact(estimate)
        if not 0 <= quantile <= 1:
            raise ValueError(f"a quantile must lie between 0 and 1, not {quantile!r}")
    return series


def with_valid_start(series: Any, drop: Drop) -> Any:
    """Return a series that has a start time, or a copy without it if that is invalid."""
    if (reason := _flaw(check_exact, series.created)) is None:
        return series
    drop("start time", reason)
    return _copy(series, created=None)


def _flaw(check: Callable[..., None], *arguments: Any) -> str | None:
    """Return why a check raises; ``None`` if it does not."""
    try:
        check(*arguments)
    except FAILURES as error:  # of a user's objects
        raise_if_exit(error)
        return safe_str(error)
    return None


def _copy(series: Any, **changed: Any) -> Any:
    """Return a copy with other attributes: the series is the user's, and others may be recording on it."""
    other = series.renamed(series.names, series.values, series.text)
    for name, value in changed.items():
        setattr(other, name, value)
    return other


def _check_exemplar(exemplar: Any) -> None:
    if type(exemplar) is not Exemplar:
        raise TypeError(f"an exemplar must be an Exemplar, not {safe_repr(exemplar)}")
    pairs: Any = exemplar.labels
    for name, value in pairs:
        if not (is_valid_str(name) and is_valid_str(value)):
            rule = "labels of an exemplar must be valid strings"
            raise TypeError(f"{rule}, not {safe_repr(name)}: {safe_repr(value)}")
    if len(dict(pairs)) != len(pairs) or exemplar_length(pairs) > EXEMPLAR_LIMIT:
        rule = f"each name once, and at most {EXEMPLAR_LIMIT} code points"
        raise ValueError(f"the labels of an exemplar must have {rule}, not {pairs!r}")
    check_exact(exemplar.value)
    if exemplar.timestamp is not None:
        check_exact(exemplar.timestamp)


def check_exact(value: Any) -> None:
    """Raise if a value is no plain number within the range of a double.

    Raises:
        TypeError: It is neither an ``int`` nor a ``float``.
        ValueError: It is too large.
    """
    if type(value) not in _EXACT:
        raise TypeError(f"a number must be an int or a float, not {safe_repr(value)}")
    if type(coerce_number(value)) is not type(value):
        raise ValueError(f"{value} is too large")


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= _MOST


_MOST = 2**64 - 1  # what the protobuf format can carry
_FARTHEST = 2**19  # beyond the bucket of infinity in the highest schema
_TAKEN = {"histogram": "le", "gaugehistogram": "le", "summary": "quantile"}
KINDS: dict[str, tuple[type[Series], Callable[[str, Any, Drop], Any]]] = {
    "counter": (NumberSeries, check_number),
    "gauge": (NumberSeries, check_number),
    "untyped": (NumberSeries, check_number),
    "info": (NumberSeries, check_one),
    "stateset": (NumberSeries, check_state),
    "histogram": (HistogramSeries, check_histogram),
    "gaugehistogram": (HistogramSeries, check_histogram),
    "summary": (Quantiles, check_quantiles),
}
"""The class of series of each type, and the check of its values."""
