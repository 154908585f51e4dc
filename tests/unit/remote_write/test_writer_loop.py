"""A collection that is large does not block the event loop: it is prepared in a thread, and encoded in slices."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from gateway import Gateway
from oracles import DEADLINE, FakeSource, family, number
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.remote_write import encoder
from otel_aioprom.remote_write.encoder import PreparedFamilies, WriteEncoder
from otel_aioprom.remote_write.writer import RemoteWriter
from receiver import TAKEN_1, TAKEN_2, url_of, values


def colliding(series: int) -> MetricFamily:
    """A family whose label names are equal once they are escaped."""
    half = [number(place, {name: str(place)}) for place in range(series // 2) for name in ("a.b", "a_b")]  # fmt: skip
    return replace(family("my.m", *half), utf8=True)


@pytest.mark.parametrize(
    ("version", "series", "threaded"),
    [("1.0", 5000, True), ("1.0", 10, False), ("2.0", 5000, False)],
)
async def test_many_names_are_escaped_in_a_thread(
    monkeypatch: pytest.MonkeyPatch, version: Any, series: int, threaded: bool
) -> None:
    """As for scrapes. With 2.0 there is nothing to escape, and few are escaped at once."""
    seen, escape = [], encoder.escape_names

    def escape_names(families: Sequence[MetricFamily], scheme: Any) -> Any:
        seen.append(threading.get_ident() != here)
        return escape(families, scheme)

    monkeypatch.setattr(encoder, "escape_names", escape_names)
    here = threading.get_ident()
    registry = CollectorRegistry()
    registry.add_source(FakeSource(colliding(series)))
    with Gateway(default=TAKEN_2 if version == "2.0" else TAKEN_1) as gateway:
        async with RemoteWriter(url_of(gateway), version=version) as writer:
            await writer.write(registry)
            assert await writer.flush(DEADLINE)

    assert seen == [threaded]
    if version == "1.0":
        assert len(values(gateway, "my_m")) == series // 2


class Counted(dict[str, MetricFamily]):
    """Families by name, which counts how often one is looked at."""

    looked_at = 0

    def __getitem__(self, key: str) -> MetricFamily:
        self.looked_at += 1
        return super().__getitem__(key)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_many_families_are_compared_in_steps(version: Any) -> None:
    """Also where nothing has changed; what no clock has to measure, for others use the machine too."""
    families = [family(f"f{place}", number(place)) for place in range(5000)]
    encoder = WriteEncoder(version)
    assert list(encoder.messages(families, 1_800_000_000_000))
    by_key = Counted(encoder.prepare(families).by_key)
    before, most = 0, 0
    for _ in encoder.encode(PreparedFamilies(by_key, ()), 1_800_000_000_001):
        before, most = by_key.looked_at, max(most, by_key.looked_at - before)

    assert by_key.looked_at >= 5000
    assert most <= 256
