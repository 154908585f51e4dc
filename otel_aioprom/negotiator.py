"""What a client asks for and what it gets: format and compression."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from otel_aioprom._core.escaping import ESCAPING_SCHEMES, Escaping
from otel_aioprom.formats import (
    BinaryFormatter,
    IFormatter,
    OpenMetrics001Formatter,
    OpenMetricsFormatter,
    Text100Formatter,
    TextFormatter,
    with_escaping,
)

_MOST_PARTS = 64
"""Parts of a header beyond these are not read: real ones have five."""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|[^",;]+|[,;]|.', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_WILD = 2  # how little a wildcard says, against 0 for a media type


class MediaRange(NamedTuple):
    """One part of an ``Accept`` header.

    Attributes:
        media_type: Type and subtype in lower case, either of which may be ``*``.
        parameters: By name in lower case, ``q`` not among them.
        quality: How much it is wanted, from 0 (not at all) to 1.
    """

    media_type: str
    parameters: Mapping[str, str]
    quality: float


class _Served(NamedTuple):
    """A format with what a part must say to get it.

    Attributes:
        formatter: The format.
        media_type: What the part must name.
        parameters: Values that it must give; ``None`` among them lets the parameter be absent.
    """

    formatter: type[IFormatter]
    media_type: str
    parameters: Mapping[str, tuple[str | None, ...]]

    def answers(self, part: MediaRange) -> bool:
        """Tell whether a part asks for this format."""
        return part.media_type == self.media_type and all(
            part.parameters.get(name) in values for name, values in self.parameters.items()
        )


_FAMILY = "io.prometheus.client.MetricFamily"
_SERVED = (
    _Served(TextFormatter, "text/plain", {"version": ("0.0.4", None)}),
    _Served(Text100Formatter, "text/plain", {"version": ("1.0.0",)}),
    _Served(OpenMetricsFormatter, "application/openmetrics-text", {"version": ("1.0.0", None)}),
    _Served(OpenMetrics001Formatter, "application/openmetrics-text", {"version": ("0.0.1",)}),
    _Served(
        BinaryFormatter,
        "application/vnd.google.protobuf",
        {"proto": (_FAMILY,), "encoding": ("delimited",)},
    ),
)
_WILDCARDS = ("text/*", "*/*")
_SPELLED = (Text100Formatter, OpenMetricsFormatter, BinaryFormatter)
"""Formats whose answer names an escaping scheme; the others are older than the schemes."""


def parse_accepts(accept_headers: Sequence[str]) -> set[str]:
    """Take ``Accept`` headers apart.

    Args:
        accept_headers: The values of all ``Accept`` lines of a request.

    Returns:
        Media types and parameters alike, without blanks. Never raises.

    Spec:
        N15.

    Examples:
        >>> sorted(parse_accepts(["text/plain; version=0.0.4"]))
        ['text/plain', 'version=0.0.4']
    """
    return {item for part in _split(accept_headers) for item in part if item}


def media_ranges(accept_headers: Sequence[str]) -> list[MediaRange]:
    """Read ``Accept`` headers, as they stand.

    Args:
        accept_headers: The values of all ``Accept`` lines of a request, or anything malformed.

    Returns:
        What can be read of them. Never raises.

    Spec:
        E52.
    """
    found = []
    for media_type, *items in _split(accept_headers):
        if "/" in media_type:
            parameters = dict(reversed([_parameter(item) for item in items]))
            quality = _quality(parameters.pop("q", "1"))
            found.append(MediaRange(media_type.lower(), parameters, quality))
    return found


def negotiate(
    accepts_headers: Sequence[str], *, protobuf_escaping: Escaping = "underscores"
) -> type[IFormatter]:
    """Choose the format of a response: the one wanted most among those served.

    Text 0.0.4 is what every client can read and what anything that cannot be served falls back to.

    Args:
        accepts_headers: The values of all ``Accept`` lines of a request, none, or anything malformed.
        protobuf_escaping: What becomes of names that are not classic in protobuf, where the client does not
            say: Prometheus never does.

    Returns:
        The formatter's class, with the escaping that was asked for. Never raises.

    Spec:
        N15, E53 to E56.

    Examples:
        >>> negotiate(["application/openmetrics-text; version=1.0.0"]).protocol
        'OpenMetricsText1.0.0'
    """
    wanted = [part for part in media_ranges(accepts_headers) if part.quality > 0]
    for part in sorted(wanted, key=lambda part: (-part.quality, _vagueness(part))):
        formatter = _answering(part)
        if formatter is not None:
            return with_escaping(formatter, _escaping(part, formatter, protobuf_escaping))
    return TextFormatter


def _vagueness(part: MediaRange) -> int:
    return 0 if "*" not in part.media_type else _WILD - (part.media_type != "*/*")


def _answering(part: MediaRange) -> type[IFormatter] | None:
    if part.media_type in _WILDCARDS:
        return TextFormatter
    return next((served.formatter for served in _SERVED if served.answers(part)), None)


def _escaping(part: MediaRange, formatter: type[IFormatter], protobuf: Escaping) -> Escaping:
    default = protobuf if formatter is BinaryFormatter else formatter.escaping
    asked = part.parameters.get("escaping")
    known = formatter in _SPELLED
    return next((scheme for scheme in ESCAPING_SCHEMES if known and scheme == asked), default)


def choose_coding(headers: Sequence[str], served: Sequence[str]) -> str | None:
    """Choose how a response is compressed.

    Args:
        headers: The values of all ``Accept-Encoding`` lines of a request.
        served: What can be had, the best first; the last one is what ``*`` stands for.

    Returns:
        One of ``served``, or ``None`` for no compression. Never raises.

    Spec:
        E57.

    Examples:
        >>> choose_coding(["gzip;q=0.5, zstd"], ["zstd", "gzip"]), choose_coding([], ["gzip"])
        ('zstd', None)
    """
    weights: dict[str, float] = {}
    for coding, *items in _split(headers):
        weights.setdefault(coding.lower(), _quality(dict(map(_parameter, items)).get("q", "1")))
    if "*" in weights:
        weights.setdefault(served[-1], weights["*"])
    least = weights.get("identity", 0.0)
    fit = [coding for coding in served if weights.get(coding, 0.0) >= max(least, 0.001)]
    return max(fit, key=weights.__getitem__, default=None)


def _split(headers: Sequence[str]) -> Iterator[list[str]]:
    """Split at commas, and each part at semicolons, both outside quotes; blanks are taken off."""
    part, item, count = [], "", 0
    for match in _TOKEN.finditer(",".join(headers)):
        if match[0] not in (",", ";"):
            item += match[0]
            continue
        part.append(item.strip())
        item = ""
        if match[0] == ",":
            yield part
            part, count = [], count + 1
            if count == _MOST_PARTS:
                return
    yield [*part, item.strip()]


def _parameter(item: str) -> tuple[str, str]:
    name, _, value = item.partition("=")
    value = value.strip()
    if value.startswith('"'):
        value = _ESCAPED.sub(r"\1", value[1:-1] if value.endswith('"') else value[1:])
    return name.strip().lower(), value


def _quality(text: str) -> float:
    """Read a weight; one that cannot be read counts as 1, as if it were not there (E52)."""
    try:
        weight = float(text)
    except ValueError:
        return 1.0
    return weight if 0 <= weight <= 1 else 1.0
