"""Histograms of which only some series have native buckets: what readers accept (E65, E70, E84)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from client_model import is_native, read_delimited, refuse
from format_families import histogram, read
from oracles import family
from otel_aioprom._core.escaping import ESCAPING_SCHEMES, Escaping
from otel_aioprom._core.model import MetricFamily
from otel_aioprom._core.native_histogram import NativeBuckets
from otel_aioprom.collectors import Histogram
from otel_aioprom.formats import with_escaping
from otel_aioprom.formats.protobuf_push import PushFormatter
from otel_aioprom.registry.faults import Fault

BUCKETS = NativeBuckets(0, 2**-128, 0, [], [(1, 3)])
EMPTY = NativeBuckets(0, 0.0, 0, [], [])
KINDS = {
    "native": lambda labels: histogram([3], 6.0, (), BUCKETS, labels=labels),
    "both": lambda labels: histogram([1, 2], 6.0, (1.0,), BUCKETS, labels=labels),
    "unused": lambda labels: histogram([0], 0.0, (), EMPTY, labels=labels),
    "classic": lambda labels: histogram([1, 2], 6.0, (1.0,), labels=labels),
}


def mixed(kinds: Sequence[str], label: str = "k", **parts: Any) -> MetricFamily:
    """A family with a series of each kind."""
    return family("h_seconds", *[KINDS[kind]({label: f"{kind}{place}"}) for place, kind in enumerate(kinds)], kind="histogram", unit="seconds", doc="Time.", **parts)  # fmt: skip


def labels_of(message: Any) -> list[str]:
    """The one label value of each of a message's metrics."""
    return [metric.label[0].value for metric in message.metric]


@pytest.mark.parametrize("kinds", [*itertools.permutations(["native", "classic", "unused"]), ["classic", "both"], ["both", "classic"]])  # fmt: skip
@pytest.mark.parametrize("timestamps", [False, True])
def test_e70_series_without_native_buckets_have_a_message_of_their_own(
    kinds: Sequence[str], timestamps: bool
) -> None:
    """Prometheus reads all of a message as the first one: in either order it would fail or lose something."""
    messages = read(mixed(kinds), timestamps=timestamps)

    for message in messages:
        refuse(message)
        assert (message.name, message.help, message.type, message.unit) == ("h_seconds", "Time.", 4, "seconds")  # fmt: skip
    native, classic = messages
    assert all(is_native(metric.histogram) for metric in native.metric)
    assert not any(is_native(metric.histogram) for metric in classic.metric)
    found = [*labels_of(native), *labels_of(classic)]
    assert sorted(found) == sorted(f"{kind}{place}" for place, kind in enumerate(kinds))
    assert [metric.histogram.sample_count for metric in classic.metric] == [3]


@pytest.mark.parametrize(
    "kinds", [["native", "both", "unused"], ["classic", "classic"], ["native"]]
)
def test_e65_series_of_one_kind_are_one_message(kinds: Sequence[str]) -> None:
    """In their order."""
    (message,) = read(mixed(kinds))

    assert labels_of(message) == [f"{kind}{place}" for place, kind in enumerate(kinds)]


def test_e70_many_series_are_two_messages() -> None:
    """However many batches they are encoded in."""
    native, classic = read(mixed(["classic", "native", "both"] * 1000))

    assert (len(native.metric), len(classic.metric)) == (2000, 1000)


def pushed(given: MetricFamily, scheme: Escaping = "underscores") -> tuple[list[Any], list[Fault]]:
    """What a push has, and what is wrong."""
    formatter = with_escaping(PushFormatter, scheme)()
    ready, faults = formatter.prepare([family("a"), given])
    first, *others = read_delimited(b"".join(formatter.encode(ready)))
    assert first.name == "a"
    return others, list(faults)


@pytest.mark.parametrize("utf8", [False, True])
@pytest.mark.parametrize("scheme", ESCAPING_SCHEMES)
def test_e70_e84_a_push_is_one_message_and_the_rest_a_fault(scheme: Escaping, utf8: bool) -> None:
    """A gateway keeps the last message of a name only."""
    given = replace(mixed(["classic", "native", "classic", "unused"], "a.b" if utf8 else "k"), utf8=utf8)  # fmt: skip
    (message,), (fault,) = pushed(given, scheme)

    assert labels_of(message) == ["native1", "unused3"]
    refuse(message)
    assert (fault.cause, fault.subject, fault.lost) == ("type_conflict", "h_seconds", True)
    assert fault.message.startswith("2 series without native buckets are not pushed")
    assert fault.message.endswith("format='text' pushes all")


@pytest.mark.parametrize("kinds", [["native", "both"], ["classic", "classic"]])
def test_e84_pushes_of_one_kind_are_whole(kinds: Sequence[str]) -> None:
    """Without a fault."""
    (message,), faults = pushed(mixed(kinds))

    assert (len(message.metric), faults) == (2, [])


def test_e70_native_collectors_are_of_one_kind() -> None:
    """Their buckets are counted as they are read."""
    made = Histogram("h", "H.", native_bucket_factor=1.1)
    for place in range(3):
        made.observe({"k": str(place)}, 1)
    (message,), faults = pushed(made.family())

    assert (len(message.metric), faults) == (3, [])
