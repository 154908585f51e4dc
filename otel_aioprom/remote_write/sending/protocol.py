"""The protocol of remote write over HTTP: headers, statuses, compression, and what a response says was stored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import aiohttp
from aiohttp import hdrs
from yarl import URL

from otel_aioprom.errors import MissingExtraError

UNSUPPORTED = 415
"""Status for a message of another version than the server supports."""

UNAVAILABLE = frozenset({429, 502, 503, 504})
"""Statuses that do not depend on the message: the server is overloaded or unavailable."""

VERSION_HEADER = "X-Prometheus-Remote-Write-Version"
_STORED_HEADERS = (
    "X-Prometheus-Remote-Write-Samples-Written",
    "X-Prometheus-Remote-Write-Histograms-Written",
)
_HEADERS = {
    "1.0": {hdrs.CONTENT_TYPE: "application/x-protobuf", VERSION_HEADER: "0.1.0"},
    # With a space after the semicolon, Prometheus takes it for 1.0 and stores nothing.
    "2.0": {
        hdrs.CONTENT_TYPE: "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        VERSION_HEADER: "2.0.0",
    },
}
_ATTEMPT_HEADER = "Retry-Attempt"
_NUMBER = re.compile(r"[0-9]{1,18}")


def headers(version: str, tried: int) -> dict[str, str]:
    """Return the headers of a message (E94).

    Args:
        version: Its version of the protocol.
        tried: How often it has been sent before.
    """
    found = {hdrs.CONTENT_ENCODING: "snappy", hdrs.USER_AGENT: _user_agent(), **_HEADERS[version]}
    return {**found, _ATTEMPT_HEADER: str(tried)} if tried else found


def stored(response: aiohttp.ClientResponse) -> int | None:
    """Return how many samples and histograms a 2.0 server has stored, or ``None`` without those headers."""
    found = [response.headers.get(name, "") for name in _STORED_HEADERS]
    numbers = [int(text) for text in found if _NUMBER.fullmatch(text)]
    return sum(numbers) if numbers else None


def check_url(url: Any) -> URL:
    """Return the URL of a server.

    Raises:
        TypeError: ``url`` is no string.
        ValueError: It is no HTTP URL.
    """
    message = f"url must be a URL such as 'http://localhost:9090/api/v1/write', not {url!r}"
    if not isinstance(url, str):
        raise TypeError(message)
    try:
        target = URL(url)
        valid = target.scheme in {"http", "https"} and target.host and target.port
    except ValueError as error:
        raise ValueError(f"{message}: {error}") from error
    if not valid:
        raise ValueError(message)
    return target


def check_headers(headers: Mapping[str, str]) -> None:
    """Reject headers that the protocol sets itself (E94).

    Raises:
        ValueError: There is such a header.
    """
    fixed = {hdrs.USER_AGENT.lower(), VERSION_HEADER.lower(), _ATTEMPT_HEADER.lower()}
    for name in headers:
        if name.lower() in fixed:
            raise ValueError(f"the header {name!r} is set by the protocol: remove it")


def compress(message: bytes) -> bytes:
    """Compress a message in the block format of snappy (E95).

    Raises:
        MissingExtraError: The extra ``remote-write`` is not installed.
    """
    return bytes(_snappy().compress_raw(message))


def decompress(body: bytes) -> bytes:
    """Decompress a message.

    Raises:
        ValueError: It is damaged.
    """
    try:
        return bytes(_snappy().decompress_raw(body))
    except Exception as error:  # of cramjam's own class
        raise ValueError(f"a message is damaged: {error}") from error


@cache
def _snappy() -> Any:
    try:
        return import_module("cramjam").snappy
    except ImportError as error:
        raise MissingExtraError("cramjam", "remote-write") from error


@cache
def _user_agent() -> str:
    try:
        return f"otel-aioprom/{version('otel-aioprom')}"
    except PackageNotFoundError:  # not installed, but run from a source tree
        return "otel-aioprom/0"
