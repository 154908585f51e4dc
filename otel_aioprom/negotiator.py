"""Content negotiation: format and compression of a response."""

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

_MAX_RANGES = 64  # media ranges of a header; further ones are ignored, and real clients send five

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|[^",;]+|[,;]|.', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class MediaRange(NamedTuple):
    """One media range of an ``Accept`` header.

    Attributes:
        media_type: Type and subtype in lower case, either of which may be ``*``.
        parameters: By name in lower case, without ``q``.
        quality: The weight ``q``, from 0 (not acceptable) to 1.
    """

    media_type: str
    parameters: Mapping[str, str]
    quality: float


class _Format(NamedTuple):
    """A format and the media range that selects it.

    Attributes:
        formatter: The format.
        media_type: The media type.
        parameters: Accepted values of parameters; ``None`` among them makes the parameter optional.
    """

    formatter: type[IFormatter]
    media_type: str
    parameters: Mapping[str, tuple[str | None, ...]]

    def matches(self, wanted: MediaRange) -> bool:
        """Return whether a media range selects this format."""
        return wanted.media_type == self.media_type and all(
            wanted.parameters.get(name) in values for name, values in self.parameters.items()
        )


_FAMILY = "io.prometheus.client.MetricFamily"
_FORMATS = (
    _Format(TextFormatter, "text/plain", {"version": ("0.0.4", None)}),
    _Format(Text100Formatter, "text/plain", {"version": ("1.0.0",)}),
    _Format(OpenMetricsFormatter, "application/openmetrics-text", {"version": ("1.0.0", None)}),
    _Format(OpenMetrics001Formatter, "application/openmetrics-text", {"version": ("0.0.1",)}),
    _Format(
        BinaryFormatter,
        "application/vnd.google.protobuf",
        {"proto": (_FAMILY,), "encoding": ("delimited",)},
    ),
)
_WILDCARDS = {"text/*": 1, "*/*": 2}
"""Supported wildcards, the less specific with the higher number."""
_ESCAPING = (Text100Formatter, OpenMetricsFormatter, BinaryFormatter)
"""Formats with an escaping scheme in their content type; the others are older than the schemes."""


def parse_accepts(accept_headers: Sequence[str] | None) -> set[str]:
    """Split ``Accept`` headers into their items.

    Args:
        accept_headers: The values of all ``Accept`` headers of a request; ``None`` for none.

    Returns:
        Media types and parameters in one set, stripped of blanks. Never raises.

    Spec:
        N15.

    Examples:
        >>> sorted(parse_accepts(["text/plain; version=0.0.4"]))
        ['text/plain', 'version=0.0.4']
    """
    return {item for part in _split(accept_headers) for item in part if item}


def media_ranges(accept_headers: Sequence[str] | None) -> list[MediaRange]:
    """Parse ``Accept`` headers, in their order.

    Args:
        accept_headers: The values of all ``Accept`` headers of a request, malformed or not.

    Returns:
        All media ranges that can be parsed. Never raises.

    Spec:
        E52.
    """
    ranges = []
    for media_type, *items in _split(accept_headers):
        if "/" in media_type:
            parameters = dict(reversed([_parameter(item) for item in items]))
            quality = _quality(parameters.pop("q", "1"))
            ranges.append(MediaRange(media_type.lower(), parameters, quality))
    return ranges


def negotiate(
    accepts_headers: Sequence[str] | None, *, protobuf_escaping: Escaping = "underscores"
) -> type[IFormatter]:
    """Choose the format of a response: the supported one with the highest weight, else text 0.0.4.

    Args:
        accepts_headers: The values of all ``Accept`` headers of a request; none, ``None`` or malformed ones are allowed.
        protobuf_escaping: Escaping scheme for protobuf if the client requests none, as Prometheus does.

    Returns:
        The formatter's class, with the requested escaping scheme. Never raises.

    Spec:
        N15, E53 to E56.

    Examples:
        >>> negotiate(["application/openmetrics-text; version=1.0.0"]).protocol
        'OpenMetricsText1.0.0'
    """
    acceptable = [part for part in media_ranges(accepts_headers) if part.quality > 0]
    for wanted in sorted(
        acceptable, key=lambda part: (-part.quality, _WILDCARDS.get(part.media_type, 0))
    ):
        formatter = _formatter_for(wanted)
        if formatter is not None:
            return with_escaping(formatter, _escaping(wanted, formatter, protobuf_escaping))
    return TextFormatter


def _formatter_for(wanted: MediaRange) -> type[IFormatter] | None:
    if wanted.media_type in _WILDCARDS:
        return TextFormatter
    return next((each.formatter for each in _FORMATS if each.matches(wanted)), None)


def _escaping(wanted: MediaRange, formatter: type[IFormatter], protobuf: Escaping) -> Escaping:
    default = protobuf if formatter is BinaryFormatter else formatter.escaping
    requested = wanted.parameters.get("escaping") if formatter in _ESCAPING else None
    return next((scheme for scheme in ESCAPING_SCHEMES if scheme == requested), default)


def choose_coding(headers: Sequence[str], served: Sequence[str]) -> str | None:
    """Choose the content coding of a response.

    Args:
        headers: The values of all ``Accept-Encoding`` headers of a request.
        served: Supported codings, the best first; ``*`` means the last one.

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
    least = max(weights.get("identity", 0.0), 0.001)
    acceptable = [coding for coding in served if weights.get(coding, 0.0) >= least]
    return max(acceptable, key=weights.__getitem__, default=None)


def _split(headers: Sequence[str] | None) -> Iterator[list[str]]:
    """Split at commas, and each part at semicolons, both outside quotes; strip blanks."""
    part, item, count = [], "", 0
    for match in _TOKEN.finditer(",".join(headers or ())):
        if match[0] not in (",", ";"):
            item += match[0]
            continue
        part.append(item.strip())
        item = ""
        if match[0] == ",":
            yield part
            part, count = [], count + 1
            if count == _MAX_RANGES:
                return
    yield [*part, item.strip()]


def _parameter(item: str) -> tuple[str, str]:
    name, _, value = item.partition("=")
    value = value.strip()
    if value.startswith('"'):
        value = _ESCAPED.sub(r"\1", value[1:-1] if value.endswith('"') else value[1:])
    return name.strip().lower(), value


def _quality(text: str) -> float:
    """Parse a weight; a malformed one counts as 1, like an absent one (E52)."""
    try:
        weight = float(text)
    except ValueError:
        return 1.0
    return weight if 0 <= weight <= 1 else 1.0
