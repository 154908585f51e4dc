"""Servers of the remote write tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from prometheus import PrometheusServer
from remote_write_servers import receiving


@pytest.fixture
def server() -> Iterator[PrometheusServer]:
    """A Prometheus that is not running yet."""
    created = receiving()
    yield created
    created.stop()
