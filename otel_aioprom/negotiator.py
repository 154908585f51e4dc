"""What a client asks for and what it gets: format and compression."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from otel_aioprom.formats import IFormatter, TextFormatter

_MOST_PARTS = 64
"""Parts of a header beyond these are not read: real ones have five."""


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
    parts = ",".join(accept_headers).split(",")[:_MOST_PARTS]
    items = {item.strip() for part in parts for item in part.split(";")}
    return items - {""}


def negotiate(accepts_headers: Sequence[str]) -> type[IFormatter]:
    """Choose the format of a response.

    Text 0.0.4 is what every client can read and what anything that cannot be served falls back to;
    at present it is the only format.

    Args:
        accepts_headers: The values of all ``Accept`` lines of a request, none, or anything malformed.

    Returns:
        The formatter's class. Never raises.

    Spec:
        N15, E53.
    """
    return TextFormatter


def accepts_gzip(headers: Sequence[str]) -> bool:
    """Tell whether a client wants its response compressed with gzip.

    Args:
        headers: The values of all ``Accept-Encoding`` lines of a request.

    Returns:
        Whether gzip is acceptable and not less wanted than no compression. Never raises.

    Spec:
        E57.

    Examples:
        >>> accepts_gzip(["gzip"]), accepts_gzip(["gzip;q=0, *"]), accepts_gzip([])
        (True, False, False)
    """
    weights: dict[str, float] = {}
    for coding, weight in _weighted(headers):
        weights.setdefault(coding, weight)
    gzip = weights.get("gzip", weights.get("*", 0.0))
    return gzip > 0 and gzip >= weights.get("identity", 0.0)


def _weighted(headers: Sequence[str]) -> Iterator[tuple[str, float]]:
    for part in ",".join(headers).split(",")[:_MOST_PARTS]:
        coding, *parameters = [item.strip().lower() for item in part.split(";")]
        if coding:
            weight = next((item[2:] for item in parameters if item.startswith("q=")), "1")
            yield coding, _quality(weight)


def _quality(text: str) -> float:
    """Read a weight; one that cannot be read counts as 1, as if it were not there (E52)."""
    try:
        weight = float(text)
    except ValueError:
        return 1.0
    return weight if 0 <= weight <= 1 else 1.0
