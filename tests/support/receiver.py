"""What a server of remote write got, on the fake gateway's sockets."""

from __future__ import annotations

from typing import Any

import cramjam

from gateway import Answer, Gateway, Push
from write_model import Point, read_points

WRITTEN = {"X-Prometheus-Remote-Write-Samples-Written": "999999"}
TAKEN_1 = Answer(204)
TAKEN_2 = Answer(204, headers=WRITTEN)
VERSIONS = {"0.1.0": "1.0", "2.0.0": "2.0"}


def url_of(gateway: Gateway) -> str:
    """Address for writes."""
    return f"{gateway.url}/api/v1/write"


def version_of(push: Push) -> str:
    """The version that a message says it has."""
    return VERSIONS[push.headers["X-Prometheus-Remote-Write-Version"]]


def points_of(push: Push) -> list[Point]:
    """The series of a message; of an empty one, none."""
    body = bytes(cramjam.snappy.decompress_raw(push.body))
    return read_points(version_of(push), body) if body else []


def value_of(push: Push, name: str) -> Any:
    """The value of the one series of a name, or ``None``."""
    found = [point.value for point in points_of(push) if ("__name__", name) in point.labels]
    assert len(found) <= 1
    return found[0] if found else None


def values(gateway: Gateway, name: str) -> list[float]:
    """All values of a series, in the order in which they came, stale markers left out."""
    every = [point for push in gateway.requests for point in points_of(push)]
    return [
        point.value
        for point in every
        if ("__name__", name) in point.labels and point.value is not None and not point.is_stale
    ]
