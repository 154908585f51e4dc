"""Invalid options of the remote writer raise in the constructor, with their name."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from gateway import Gateway
from oracles import DEADLINE
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.remote_write.sending.spool_folder import SpoolFolder
from otel_aioprom.remote_write.writer import RemoteWriter
from pushed import LONG, levels
from receiver import TAKEN_1, TAKEN_2, points_of, url_of, values

WRONG = (TypeError, ValueError)
URL = "http://127.0.0.1:9/api/v1/write"
NUMBERS = ("max_samples", "queue_bytes", "attempts", "gather_timeout", "flush_timeout", "timeout")


@pytest.mark.parametrize(
    "url",
    ["http://h:99999/", "http://h:port/", "http://[::1/", "http://", "", "/api/v1/write", None, 5, b"http://h/"],
)  # fmt: skip
def test_an_address_that_is_none(url: Any) -> None:
    """The option is named, whatever is wrong with it."""
    with pytest.raises(WRONG, match="url"):
        RemoteWriter(url)


@pytest.mark.parametrize("value", [0, -1, math.nan, -math.inf])
@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_above_zero(name: str, value: float) -> None:
    """All of them."""
    with pytest.raises(ValueError, match=name):
        RemoteWriter(URL, **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_numbers(name: str) -> None:
    """Texts come from environments; the error says which one it was."""
    wrong: dict[str, Any] = {name: "5"}
    with pytest.raises(WRONG, match=name):
        RemoteWriter(URL, **wrong)


def test_samples_are_counted_in_whole_numbers() -> None:
    """A part of one cannot be sent: said here, not by each collection."""
    with pytest.raises(WRONG, match="max_samples"):
        RemoteWriter(URL, max_samples=2.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("version", ["", "1", "2", "0.1.0", "2.0.0", 1.0, 2, None, ["2.0"]])
def test_a_version_that_is_none(version: Any) -> None:
    """With those that there are."""
    with pytest.raises(WRONG, match=r"version must be '1\.0' or '2\.0'"):
        RemoteWriter(URL, version=version)


@pytest.mark.parametrize("labels", [["a"], "ab", {1: "a"}, {"": "a"}, {"__name__": "a"}])
def test_external_labels_that_are_none(labels: Any) -> None:
    """The name of a label is a string other than ``__name__``."""
    with pytest.raises(WRONG, match=r"external.label"):
        RemoteWriter(URL, external_labels=labels)


@pytest.mark.parametrize(
    "headers",
    [{"X-Tenant": "a\r\nX-Other: b"}, {"X-Tenant": "a\n"}, {"X-Tenant": 7}, {"X Tenant": "a"}, {"": "a"}],
    ids=["injected", "newline", "number", "blank", "nameless"],
)  # fmt: skip
def test_headers_that_no_request_can_have(headers: Any) -> None:
    """Said here: a request with such a header never leaves, and nothing behind it either."""
    with pytest.raises(WRONG, match="header"):
        RemoteWriter(URL, headers=headers)


@pytest.mark.parametrize("name", ["retry-attempt", "Host", "content-length", "Transfer-Encoding"])
def test_headers_that_follow_from_the_message(name: str) -> None:
    """Whatever their case."""
    with pytest.raises(ValueError, match=name):
        RemoteWriter(URL, headers={name: "1"})


@pytest.mark.parametrize("spool", ["", "a\0b", 5, ["folder"]])
def test_a_spool_that_is_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spool: Any
) -> None:
    """An empty string is an unset variable: it does not mean the working directory."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises((*WRONG, OSError), match=r"spool|folder|cannot be kept"):
        RemoteWriter(URL, spool=spool)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"retries": 3}, {"timeout": 0}])
def test_a_wrong_option_leaves_nothing_behind(tmp_path: Path, wrong: dict[str, Any]) -> None:
    """The folder is neither made nor held."""
    with pytest.raises(WRONG, match=next(iter(wrong))):
        RemoteWriter(URL, spool=tmp_path / "spool", **wrong)

    assert not (tmp_path / "spool").exists()
    SpoolFolder(tmp_path / "spool", 10).close()


@pytest.mark.parametrize(
    ("name", "value"), [("interval", 0), ("interval", math.nan), ("exit_timeout", -1)]
)
async def test_seconds_of_run_are_above_zero(name: str, value: float) -> None:
    """Of both ways to run."""
    writer = RemoteWriter(URL)
    with pytest.raises(ValueError, match=name):
        await writer.run(CollectorRegistry(), **{name: value})
    with pytest.raises(ValueError, match=name):
        async with writer.running(CollectorRegistry(), **{name: value}):  # type: ignore[arg-type]
            pytest.fail("the block runs")


async def test_valid_options_are_copied() -> None:
    """Whoever changes a mapping later changes nothing of a writer, nor when it begins with 2.0."""
    labels, headers = {"job": "shop"}, {"X-Scope-OrgID": "7"}
    options: dict[str, Any] = {"version": "2.0", "external_labels": labels, "headers": headers}
    with Gateway(default=TAKEN_2) as gateway:
        writer = RemoteWriter(url_of(gateway), **options)
        labels["job"] = headers["X-Scope-OrgID"] = "other"
        async with writer:
            await writer.write(levels(1))
            assert await writer.flush(DEADLINE)

    assert gateway.last.headers["X-Scope-OrgID"] == "7"
    assert all(("job", "shop") in point.labels for point in points_of(gateway.last))


async def test_limits_may_be_endless() -> None:
    """Where there is enough of everything."""
    endless: dict[str, Any] = dict.fromkeys(("queue_bytes", "attempts"), math.inf)
    with Gateway(default=TAKEN_1) as gateway:
        async with RemoteWriter(url_of(gateway), **endless).running(levels(1), LONG):
            await gateway.arrived(1)

    assert values(gateway, "a")[0] == 1
