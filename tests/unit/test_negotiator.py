"""What a client asks for and what it gets."""

from __future__ import annotations

import pytest

from otel_aioprom.formats import TextFormatter
from otel_aioprom.negotiator import accepts_gzip, negotiate, parse_accepts

PROMETHEUS = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
MALFORMED = ["", ",", ";", ";;,,;=", "q=", "text/plain;q=x", "\x00", "a/b/c;version=" + "9" * 5000]


def test_headers_are_taken_apart() -> None:
    """Media types and parameters alike, without blanks, of all lines."""
    found = parse_accepts(["text/plain; version=0.0.4 , */* ", "", "a/b;;q=0.5,"])

    assert found == {"text/plain", "version=0.0.4", "*/*", "a/b", "q=0.5"}
    assert parse_accepts([]) == set()


@pytest.mark.parametrize("header", MALFORMED)
def test_malformed_headers_are_taken_apart_too(header: str) -> None:
    """Whatever is in them."""
    assert "" not in parse_accepts([header])


def test_of_endless_headers_the_beginning_is_read() -> None:
    """A client cannot make us work for it."""
    header = ",".join(f"a/{number}" for number in range(10_000))

    assert len(parse_accepts([header])) == 64


@pytest.mark.parametrize("header", [PROMETHEUS, "text/html", "text/plain;q=0", *MALFORMED])
def test_everyone_gets_text(header: str) -> None:
    """The only format there is, and what everything falls back to."""
    assert negotiate([header]) is negotiate([]) is TextFormatter


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ([], False),
        ([""], False),
        (["gzip"], True),
        (["GZip"], True),
        (["deflate, gzip;q=0.5, br"], True),
        (["deflate", "gzip"], True),
        (["deflate, br"], False),
        (["x-gzip"], False),
        (["gzip;q=0"], False),
        (["gzip;q=0.000"], False),
        (["gzip ; Q=0"], False),
        (["gzip;q=0, *"], False),
        (["*"], True),
        (["*;q=0"], False),
        (["*;q=0, gzip;q=0.1"], True),
        (["identity, gzip;q=0.5"], False),
        (["identity;q=0.5, gzip;q=0.5"], True),
        (["identity;q=0.4, gzip;q=0.5"], True),
        (["gzip, gzip;q=0"], True),
        (["gzip;level=1;q=0"], False),
        (["gzip;q=high"], True),
        (["gzip;q=nan"], True),
        (["gzip;q=-1"], True),
        (["gzip;q=2"], True),
        (["gzip;q="], True),
        ([";q=1, gzip"], True),
        ([",".join(["br"] * 10_000) + ",gzip"], False),
    ],
)
def test_gzip_is_for_those_who_want_it(headers: list[str], wanted: bool) -> None:
    """Weights are obeyed; one that cannot be read counts as if it were not there."""
    assert accepts_gzip(headers) is wanted
