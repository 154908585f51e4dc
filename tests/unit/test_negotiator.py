"""Content negotiation: ``Accept`` and ``Accept-Encoding``."""

from __future__ import annotations

import pytest

from otel_aioprom.formats import BinaryFormatter, TextFormatter
from otel_aioprom.negotiator import choose_coding, media_ranges, negotiate, parse_accepts

MALFORMED = ["", ",", ";", ";;,,;=", "q=", "text/plain;q=x", "\x00", "a/b/c;version=" + "9" * 5000]
PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)


def test_headers_are_split() -> None:
    """Into media types and parameters, without blanks, of all headers."""
    found = parse_accepts(["text/plain; version=0.0.4 , */* ", "", "a/b;;q=0.5,"])

    assert found == {"text/plain", "version=0.0.4", "*/*", "a/b", "q=0.5"}
    assert parse_accepts([]) == set()


@pytest.mark.parametrize("header", MALFORMED)
def test_malformed_headers_select_text(header: str) -> None:
    """Without an error."""
    assert "" not in parse_accepts([header])
    assert negotiate([header]) is TextFormatter


def test_only_the_beginning_of_a_long_header_is_parsed() -> None:
    """A client cannot cause unlimited work."""
    header = ",".join(f"a/{number}" for number in range(10_000))

    assert len(parse_accepts([header])) == 64
    assert len(media_ranges([header])) == 64


@pytest.mark.parametrize(
    ("header", "parameters", "quality"),
    [
        ("a/b", {}, 1),
        (" A/B ; X = y ; Q=0.5 ", {"x": "y"}, 0.5),
        ('a/b;x="y;z,\\"q\\"";q="0.25"', {"x": 'y;z,"q"'}, 0.25),
        ('a/b;x="open;q=0.1', {"x": "open;q=0.1"}, 1),
        ("a/b;x=1;x=2;q=0.1;q=0.9", {"x": "1"}, 0.1),
        ("a/b;q=2", {}, 1),
        ("a/b;q=-1", {}, 1),
        ("a/b;q=nan", {}, 1),
        ("a/b;q", {}, 1),
        ('a/b;x="\\', {"x": "\\"}, 1),
    ],
)
def test_media_ranges_have_parameters(
    header: str, parameters: dict[str, str], quality: float
) -> None:
    """Names in any case, values quoted or not; an invalid weight counts as 1."""
    (part,) = media_ranges([header])

    assert (part.media_type, part.quality) == ("a/b", quality)
    assert part.parameters == parameters


def test_protobuf_has_the_escaping_that_was_configured() -> None:
    """Unless the client requests one."""
    chosen = negotiate([PROTOBUF], protobuf_escaping="allow-utf-8")

    assert issubclass(chosen, BinaryFormatter)
    assert chosen.escaping == "allow-utf-8"
    assert chosen is negotiate([PROTOBUF], protobuf_escaping="allow-utf-8")
    requested = negotiate([f"{PROTOBUF};escaping=dots"], protobuf_escaping="allow-utf-8")
    assert requested.escaping == "dots"
    assert negotiate(["text/plain"], protobuf_escaping="dots").escaping == "underscores"


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ([], None),
        ([""], None),
        (["gzip"], "gzip"),
        (["GZip"], "gzip"),
        (["deflate, gzip;q=0.5, br"], "gzip"),
        (["deflate", "gzip"], "gzip"),
        (["deflate, br"], None),
        (["x-gzip"], None),
        (["gzip;q=0"], None),
        (["gzip;q=0.000"], None),
        (["gzip ; Q=0"], None),
        (["gzip;q=0, *"], None),
        (["*"], "gzip"),
        (["*;q=0"], None),
        (["*;q=0, gzip;q=0.1"], "gzip"),
        (["identity, gzip;q=0.5"], None),
        (["identity;q=0.5, gzip;q=0.5"], "gzip"),
        (["identity;q=0.4, gzip;q=0.5"], "gzip"),
        (["gzip, gzip;q=0"], "gzip"),
        (["gzip;level=1;q=0"], None),
        (["gzip;q=high"], "gzip"),
        (["gzip;q=nan"], "gzip"),
        (["gzip;q=-1"], "gzip"),
        (["gzip;q=2"], "gzip"),
        (["gzip;q="], "gzip"),
        ([";q=1, gzip"], "gzip"),
        ([",".join(["br"] * 10_000) + ",gzip"], None),
        (["zstd"], "zstd"),
        (["gzip, zstd"], "zstd"),
        (["gzip, deflate, br, zstd"], "zstd"),
        (["gzip, zstd;q=0.9"], "gzip"),
        (["gzip;q=0.5, zstd;q=0"], "gzip"),
        (["identity, zstd;q=0.9"], None),
    ],
)
def test_the_coding_with_the_highest_weight_is_chosen(
    headers: list[str], wanted: str | None
) -> None:
    """An invalid weight counts as absent."""
    assert choose_coding(headers, ("zstd", "gzip")) == wanted


def test_an_unsupported_coding_is_not_chosen() -> None:
    """Such as zstd without its extra."""
    assert choose_coding(["zstd"], ("gzip",)) is None
    assert choose_coding(["zstd, gzip;q=0.1"], ("gzip",)) == "gzip"
