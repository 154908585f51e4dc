"""Whatever is pushed: a gateway reads the group that was meant, and batches hold what one body holds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from any_families import gathered
from client_model import read_delimited
from gateway import extra_labels, group_of
from otel_aioprom._core.model import MetricFamily
from otel_aioprom._transport.retry import Retry
from otel_aioprom.formats import BinaryFormatter, IFormatter, TextFormatter
from otel_aioprom.pusher.batches import bodies
from otel_aioprom.pusher.grouping import check_group, group_path
from otel_aioprom.pusher.pusher import Pusher, join_url

bounded = settings(max_examples=60)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.text("./+%=&?#@ ~-_\\\n\0", max_size=5)  # fmt: skip
jobs = texts.filter(bool)
label_names = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,5}", fullmatch=True).filter(
    lambda name: name != "job" and not name.startswith("__")
)
grouping_keys = st.dictionaries(label_names, texts, max_size=4)
formatters = st.sampled_from([TextFormatter(), BinaryFormatter()])


@bounded
@given(jobs, grouping_keys)
def test_a_gateway_reads_the_group_that_was_meant(job: str, grouping_key: dict[str, str]) -> None:
    """Any job, any labels, from the URL of the request."""
    group = check_group(job, grouping_key)
    url = join_url("http://h:1/base/", group_path("/metrics/job/{0}", group))
    path = url.raw_path_qs

    assert path.isascii()
    assert group_of(path.removeprefix("/base")) == {"job": job, **grouping_key}
    assert Pusher(job, "http://h:1/base", grouping_key=grouping_key).url == str(url)


@bounded
@given(jobs, grouping_keys)
def test_an_import_reads_the_labels_that_were_meant(job: str, grouping_key: dict[str, str]) -> None:
    """Where they stand in the query."""
    path = group_path("/api/v1/import/prometheus", check_group(job, grouping_key))

    assert extra_labels(join_url("http://h", path).raw_path_qs) == {"job": job, **grouping_key}


@pytest.mark.parametrize("formatter", [TextFormatter(), BinaryFormatter()])
@bounded
@given(families=gathered, limit=st.integers(1, 3000))
def test_batches_together_are_one_body(
    formatter: IFormatter, families: list[MetricFamily], limit: int
) -> None:
    """Each family stands whole in one of them, and none is longer than it need be."""
    ready, _ = formatter.prepare(families)
    alone = [b"".join(formatter.encode([each])) for each in ready]

    async def collect(limit: int | None) -> list[bytes]:
        return [b"".join(pieces) async for pieces in bodies(ready, formatter, limit)]

    (whole,) = asyncio.run(collect(None))
    batches = asyncio.run(collect(limit))

    assert b"".join(batches) == whole == b"".join(alone)
    left = list(alone)
    for batch in batches:
        held: list[bytes] = []
        while left and len(b"".join(held)) < len(batch):
            held.append(left.pop(0))
        assert b"".join(held) == batch
        assert len(batch) <= limit or len([each for each in held if each]) == 1
    assert not any(left)


@bounded
@given(gathered)
def test_protobuf_batches_hold_readable_families(families: list[MetricFamily]) -> None:
    """Each on its own, in the order in which the registry has them."""
    formatter = BinaryFormatter()
    ready, _ = formatter.prepare(families)

    async def read() -> list[Any]:
        found = []
        async for pieces in bodies(ready, formatter, 200):
            found += read_delimited(b"".join(pieces))
        return found

    assert [each.name for each in asyncio.run(read())] == [
        each.name for each in read_delimited(b"".join(formatter.encode(ready)))
    ]


@bounded
@given(
    st.integers(1, 20),
    st.floats(0.001, 1000),
    st.floats(0.001, 1000),
    st.floats(0.001, 1000),
    st.lists(st.none() | st.floats(0, 1000), max_size=30),
)
def test_waits_stay_within_bounds(
    attempts: int, total: float, first: float, longest: float, asked: list[float | None]
) -> None:
    """In number and time, whatever servers ask for."""
    retry = Retry(attempts, total, first, longest)
    elapsed, tried = 0.0, 1
    for each in asked:
        wait = retry.wait(tried, elapsed, each)
        if wait is None:
            break
        elapsed += wait
        tried += 1

    assert tried <= attempts
    assert elapsed < total
