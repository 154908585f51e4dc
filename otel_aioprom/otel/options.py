"""Validate the translation options of users."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypedDict

from otel_aioprom._core.patterns import Patterns
from otel_aioprom.collectors.series.classic_histogram import check_bounds
from otel_aioprom.otel.names import find_strategy
from otel_aioprom.otel.translate import Options


class TranslationOptions(TypedDict, total=False):
    """The options of ``make_options``, for the signatures of callers that pass them on."""

    prefix: str
    scope_info_enabled: bool
    target_info_enabled: bool
    resource_constant_labels: Mapping[str, Sequence[str] | None] | None
    resource_attribute_filter: Callable[[str], bool] | None
    translation_strategy: str
    summaries: Mapping[str, Iterable[float]] | None
    classic_buckets: Iterable[float] | None


def make_options(
    *,
    prefix: str = "",
    scope_info_enabled: bool = True,
    target_info_enabled: bool = True,
    resource_constant_labels: Mapping[str, Sequence[str] | None] | None = None,
    resource_attribute_filter: Callable[[str], bool] | None = None,
    translation_strategy: str = "UnderscoreEscapingWithSuffixes",
    summaries: Mapping[str, Iterable[float]] | None = None,
    classic_buckets: Iterable[float] | None = None,
) -> Options:
    """Validate translation options; ``PrometheusMetricReader`` documents them.

    Raises:
        TypeError: An option has the wrong type.
        ValueError: An option has an invalid value, or two options contradict each other.
    """
    return Options(
        prefix=prefix,
        scope_info_enabled=scope_info_enabled,
        target_info_enabled=target_info_enabled,
        resource_constant_labels=_resource_filter(
            resource_constant_labels, resource_attribute_filter
        ),
        strategy=find_strategy(translation_strategy),
        summaries=_summaries(summaries or {}),
        classic_buckets=None if classic_buckets is None else check_bounds(classic_buckets),
    )


def _resource_filter(
    patterns: Mapping[str, Sequence[str] | None] | None, function: Callable[[str], bool] | None
) -> Callable[[str], bool] | None:
    if function is None:
        return None if patterns is None else Patterns.from_option(patterns).matches
    if patterns is not None:
        raise ValueError(
            "pass either resource_constant_labels or resource_attribute_filter, and not both"
        )
    if not callable(function):
        raise TypeError(f"resource_attribute_filter must be a function, not {function!r}")
    return function


def _summaries(option: Mapping[str, Iterable[float]]) -> list[tuple[Patterns, tuple[float, ...]]]:
    if not isinstance(option, Mapping):
        raise TypeError(f"summaries must be a mapping of patterns to quantiles, not {option!r}")
    return [(Patterns([pattern]), _quantiles(values)) for pattern, values in option.items()]


def _quantiles(values: Iterable[float]) -> tuple[float, ...]:
    quantiles = tuple(sorted({float(quantile) for quantile in values}))
    if not quantiles or not all(0 <= quantile <= 1 for quantile in quantiles):
        raise ValueError(f"quantiles must be one or more numbers between 0 and 1, not {quantiles}")
    return quantiles
