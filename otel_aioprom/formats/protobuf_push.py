"""The protobuf format of pushes, with one message for each name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from otel_aioprom._core.model import MetricFamily, Series
from otel_aioprom.collectors.series.native_histogram import NativeHistogramSeries
from otel_aioprom.formats.name_escaping import EscapedSeries
from otel_aioprom.formats.protobuf import BinaryFormatter
from otel_aioprom.registry.faults import Fault


class PushFormatter(BinaryFormatter):
    """Protobuf for a gateway, which keeps only the last message of a name.

    Of a histogram of which some series have native buckets, the other series are dropped: they would need a message of
    their own.

    Spec:
        E65, E70, E84.
    """

    def _admit(
        self, families: Sequence[MetricFamily]
    ) -> tuple[Sequence[MetricFamily], Sequence[Fault]]:
        """Drop histogram series that do not fit into the message of their name."""
        faults: list[Fault] = []
        return [_of_one_kind(family, faults) for family in families], faults


def _of_one_kind(family: MetricFamily, faults: list[Fault]) -> MetricFamily:
    every = family.series
    if family.type != "histogram":
        return family
    # Escaped series are copies, each created when it is read.
    originals: Sequence[Any] = every.originals if isinstance(every, EscapedSeries) else every
    native = [place for place, one in enumerate(originals) if _is_native(one)]
    if len(native) in (0, len(originals)):
        return family
    message = (
        f"{len(originals) - len(native)} series without native buckets are not pushed, because others of this name "
        "have some: a gateway keeps them in one message, which Prometheus cannot read; format='text' pushes all"
    )
    faults.append(Fault("type_conflict", family.name, message))
    kept: list[Series] = [every[place] for place in native]
    return replace(family, series=kept)


def _is_native(one: Any) -> bool:
    return isinstance(one, NativeHistogramSeries) or one.native is not None
