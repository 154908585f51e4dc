"""Whatever the families: a server finds every sample of them once, in both versions of remote write."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from any_families import gathered, same, samples_of
from client_model import Key, key_of
from otel_aioprom._core.escaping import Escaping
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.formats import Text100Formatter, with_escaping
from otel_aioprom.formats.name_escaping import escape_names
from otel_aioprom.remote_write.encoder import WriteEncoder
from write_model import Point, Receiver, native_buckets, read_points

T = 1_700_000_000_000
SCHEMES: dict[str, Escaping] = {"1.0": "underscores", "2.0": "allow-utf-8"}
bounded = settings(max_examples=50)
every_version = pytest.mark.parametrize("version", SCHEMES)
limits = st.integers(1, 30)
externals = st.dictionaries(
    st.sampled_from(["job", "a", "instance"]), st.sampled_from(["", "external"])
)


def key_of_point(point: Point) -> Key:
    """What tells a sample apart, bounds taken as numbers."""
    labels = dict(point.labels)
    bounds = {name: float(labels.pop(name)) for name in ("le", "quantile") if name in labels}
    return key_of(labels.pop("__name__"), labels, **bounds)


def expected(version: str, families: list[MetricFamily], external: dict[str, str]) -> Any:
    """Samples, then native histograms, that a server must have of a collection."""
    scheme = SCHEMES[version]
    formatter = with_escaping(Text100Formatter, scheme)()
    floats: dict[Key, float] = {}
    natives: dict[Key, Any] = {}
    for family in escape_names(families, scheme)[0]:
        for one in family.series:
            alone = MetricFamily(family.name, family.type, "", "", [one])
            native = getattr(one, "native", None)
            found = {}
            if native is None or len(one.bounds) > 1:
                found = {_with(key, external): value for key, value in samples_of(alone, formatter)}
            bare = _with(key_of(family.name, dict(one.pairs)), external)
            # A label without a value may be all that tells two series apart.
            if floats.keys().isdisjoint(found) and bare not in natives:
                floats.update(found)
                if native is not None:
                    natives[bare] = one
    return floats, natives


def _with(key: Key, external: dict[str, str]) -> Key:
    return key_of(key[0], {**external, **dict(key[1])})


def check(points: list[Point], floats: dict[Key, float], natives: dict[Key, Any]) -> None:
    """Compare what has arrived, without stale markers, with what must."""
    found = {key_of_point(each): each for each in points if not each.is_stale}
    values = {key: each.value for key, each in found.items() if each.histogram is None}

    assert len(found) == len([each for each in points if not each.is_stale])
    assert values.keys() == floats.keys()
    assert all(same(value, floats[key]) for key, value in values.items())
    histograms = {key: each.histogram for key, each in found.items() if each.histogram is not None}
    assert histograms.keys() == natives.keys()
    for key, histogram in histograms.items():
        native, total = natives[key].native, natives[key].total
        assert same(histogram.sum, 0 if total is None else total)
        assert histogram.count_int == sum(natives[key].counts)
        assert (histogram.schema, histogram.zero_threshold, histogram.zero_count_int) == (
            native.schema, native.zero_threshold, native.zero_count,
        )  # fmt: skip
        for sign in ("positive", "negative"):
            held = {index: n for index, n in native_buckets(histogram, sign).items() if n}
            assert held == {index: n for index, n in getattr(native, sign) if n}


@every_version
@bounded
@given(collections=st.lists(gathered, min_size=1, max_size=3), limit=limits, external=externals)
def test_a_server_has_every_sample_of_every_collection_once(
    version: str, collections: list[list[MetricFamily]], limit: int, external: dict[str, str]
) -> None:
    """What a collection has not got any more is stale after it; at the end, everything is."""
    table = WriteEncoder(version, external, max_samples=limit)  # type: ignore[arg-type]
    receiver = Receiver(version, limit)
    for place, families in enumerate(collections):
        points = receiver.take(table.messages(families, T + place))
        floats, natives = expected(version, families, external)
        check(points, floats, natives)
        alive = {key_of_point(point) for point in receiver.alive().values()}
        assert alive == floats.keys() | natives.keys()
    ended = receiver.take(table.end(T + len(collections)))

    assert all(point.is_stale for point in ended)
    assert receiver.alive() == {}
    assert list(table.end(T + len(collections) + 1)) == []


@every_version
@bounded
@given(families=gathered, limit=limits)
def test_a_table_says_the_same_again(
    version: str, families: list[MetricFamily], limit: int
) -> None:
    """What it remembers of the last collection changes nothing but exemplars, which are sent once."""
    table = WriteEncoder(version, max_samples=limit)  # type: ignore[arg-type]
    read_first = Receiver(version, limit).take(table.messages(families, T))
    Receiver(version, limit).take(table.messages(families, T))
    again = Receiver(version, limit).take(table.messages(families, T))

    assert sum(len(point.exemplars) for point in again) == 0
    # Exemplars may have moved their series to the end of a message.
    assert sorted(map(told, again)) == sorted(map(told, read_first))


def told(point: Point) -> Any:
    """What must be the same in each collection."""
    held = None if point.histogram is None else point.histogram.SerializeToString()
    return point.labels, repr(point.value), held, point.start, point.metadata


@every_version
@bounded
@given(collections=st.lists(gathered, min_size=2, max_size=3), limit=limits)
def test_the_past_does_not_show(
    version: str, collections: list[list[MetricFamily]], limit: int
) -> None:
    """Once all exemplars have left, a message is to the byte what a table without a past makes."""
    table, fresh = (WriteEncoder(version, max_samples=limit) for _ in range(2))  # type: ignore[arg-type]
    for place, families in enumerate(collections):
        list(table.messages(families, T + place))
    for place in range(3, 6):
        late = [each for each in table.messages(collections[-1], T + place) if each]
        early = [each for each in fresh.messages(collections[-1], T + place) if each]

    assert late == early


@every_version
@bounded
@given(collections=st.lists(gathered, min_size=2, max_size=3), stop=st.integers(0, 40))
def test_an_abandoned_collection_does_no_harm(
    version: str, collections: list[list[MetricFamily]], stop: int
) -> None:
    """Wherever it stops, the next one is whole, and everything that was sent ends."""
    table = WriteEncoder(version, max_samples=3)  # type: ignore[arg-type]
    receiver = Receiver(version, 3)
    receiver.take(islice(table.messages(collections[0], T), stop))
    families = collections[-1]
    floats, natives = expected(version, families, {})

    # It may also end series that were only about to be sent, of which a server knows nothing.
    after = [point for message in table.messages(families, T + 1) if message for point in read_points(version, message.body)]  # fmt: skip
    check(after, floats, natives)
    stale = {point.labels for point in after if point.is_stale}
    all_observers = {point.labels for point in after if not point.is_stale}
    assert receiver.series.keys() <= stale | all_observers
    assert not stale & all_observers
