"""Attribute keys that become one label: their values are joined, which is logged once and counted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mapping_sdk import LABEL_CONFLICTS, Rig
from otel_aioprom.renderer import render

KEYS = {"http.method": "GET", "http/method": "POST", "http_method": "PUT"}


def conflicts(rig: Rig) -> str:
    """Return the counter's value as it is exposed; empty if it is not."""
    lines = render(rig.registry)[0].decode().splitlines()
    return "".join([line.split()[-1] for line in lines if line.startswith(LABEL_CONFLICTS)])


def test_m40_joined_values_are_logged_once_and_counted(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """By label, with a key and what to do; counted for each value and series, not for each scrape."""
    counter = rig.meter().create_counter("c")
    counter.add(1, KEYS)
    for _ in range(3):
        assert b'c_total{http_method="GET;POST;PUT"} 1' in render(rig.registry)[0]
    assert conflicts(rig) == "2"
    counter.add(1, {**KEYS, "more": 1})
    counter.add(1, {"user.id": "1", "user_id": "2"})

    assert conflicts(rig) == "5"
    subjects = [each.message.partition(":")[0] for each in caplog.records]
    assert subjects == ["the label http_method", "the label user_id"]
    assert "'http/method'" in caplog.messages[0]
    assert "rename" in caplog.messages[0]
    assert all(each.levelname == "WARNING" for each in caplog.records)


def test_m40_joined_values_of_the_resource_are_counted_once(
    rigs: Callable[..., Rig], caplog: pytest.LogCaptureFixture
) -> None:
    """``target_info`` is translated at each scrape, and counted at the first."""
    rig = rigs(resource={"k8s.pod": "a", "k8s_pod": "b"}, target_info_enabled=True)
    rig.meter().create_counter("c").add(1)
    for _ in range(3):
        assert b'k8s_pod="a;b"' in render(rig.registry)[0]

    assert conflicts(rig) == "1"
    assert len(caplog.records) == 1


def test_m40_keys_that_do_not_meet_are_no_conflict(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is counted or logged."""
    rig.meter().create_counter("c").add(1, {"http.method": "GET", "http.route": "/"})
    render(rig.registry)

    assert conflicts(rig) == ""
    assert not caplog.records
