"""The protobuf format of pushes, with one message for each name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from otel_aioprom._core.model import MetricFamily, Series
from otel_aioprom.collectors.series.native_histogram import NativeHistogramSeries
from otel_aioprom.formats.protobuf import BinaryFormatter
from otel_aioprom.formats.separate_samples import originals, relayed_separation_of
from otel_aioprom.registry.faults import Fault


class PushFormatter(BinaryFormatter):
    """Protobuf for a gateway, which keeps only the last message of a name.

    Of a histogram of which some series have native buckets, the other series are dropped: they would need a message of
    their own. Gauge histograms are pushed without native buckets, at which old gateways break off their page.

    Spec:
        E65, E70, E84.
    """

    _separation_of = staticmethod(relayed_separation_of)
    _native_gauges = False

    def _admit(
        self, families: Sequence[MetricFamily]
    ) -> tuple[Sequence[MetricFamily], Sequence[Fault]]:
        """Drop histogram series that do not fit into the message of their name."""
        faults: list[Fault] = []
        return [_of_one_kind(family, faults) for family in families], faults


def _of_one_kind(family: MetricFamily, faults: list[Fault]) -> MetricFamily:
    every = family.series
    if family.type not in ("histogram", "gaugehistogram"):
        return family
    native = [place for place, one in enumerate(originals(every)) if _is_native(one)]
    if native and family.type == "gaugehistogram":
        message = (
            f"the native buckets of {len(native)} series are not pushed, because gateways cannot show those of a "
            "gauge histogram; the classic buckets are pushed"
        )
        faults.append(Fault("type_conflict", family.name, message))
        return family
    if len(native) in (0, len(every)):
        return family
    message = (
        f"{len(every) - len(native)} series without native buckets are not pushed, because others of this name "
        "have some: a gateway keeps them in one message, which Prometheus cannot read; format='text' pushes all"
    )
    faults.append(Fault("type_conflict", family.name, message))
    kept: list[Series] = [every[place] for place in native]
    return replace(family, series=kept)


def _is_native(one: Any) -> bool:
    return isinstance(one, NativeHistogramSeries) or one.native is not None
