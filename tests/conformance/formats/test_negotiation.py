"""Content negotiation: format and compression (E1, E51 to E57)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accept_headers import PROTO, RECORDED, Recorded
from oracles import answer_to
from otel_aioprom.collectors import Counter
from otel_aioprom.negotiator import choose_coding, media_ranges, negotiate, parse_accepts
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.service.messages import ScrapeRequest

TEXT4 = "text/plain; version=0.0.4; charset=utf-8"
OM0 = "application/openmetrics-text; version=0.0.1; charset=utf-8"
OM = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping="
TEXT1 = "text/plain; version=1.0.0; charset=utf-8; escaping="
BINARY = (
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; "
    "escaping="
)
ASKED = "application/openmetrics-text;version="


def answered(*accept: str) -> str:
    """The content type of the response."""
    return negotiate(accept)().get_headers()["Content-Type"]


def expected(recorded: Recorded) -> str:
    """The format for a recorded scraper: the first in its header."""
    first = recorded.accept.split(",")[0]
    scheme = next((s for s in ("allow-utf-8", "dots", "values") if f"={s}" in first), "underscores")
    if "protobuf" in first:
        return f"{BINARY}underscores"
    if "openmetrics" in first:
        return OM0 if "version=0.0.1" in first else OM + scheme
    return TEXT1 + scheme if "version=1.0.0" in first else TEXT4


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        ("text/plain;version=0.0.4", TEXT4),
        ("text/plain;version=1.0.0", f"{TEXT1}underscores"),
        (f"{ASKED}0.0.1", OM0),
        (f"{ASKED}1.0.0", f"{OM}underscores"),
        (PROTO, f"{BINARY}underscores"),
    ],
)
def test_e01_each_format_has_its_exact_content_type(accept: str, answer: str) -> None:
    """Including order and blanks."""
    assert answered(accept) == answer


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda one: f"{one.scraper} {one.setting}")
def test_e51_scrapers_get_their_first_format(recorded: Recorded) -> None:
    """With each recorded setting."""
    assert answered(recorded.accept) == expected(recorded)


def test_e52_headers_are_joined_and_parsed_leniently() -> None:
    """Types and parameter names in any case, values quoted or not; ranges without a slash are skipped."""
    assert (
        answered("nonsense", 'APPLICATION/OPENMETRICS-TEXT ; VERSION = "1.0.0"')
        == f"{OM}underscores"
    )
    assert answered("a/b", f"{ASKED}1.0.0;q=high") == f"{OM}underscores"
    assert answered(",".join(["a/b"] * 64 + [f"{ASKED}1.0.0"])) == TEXT4


@given(st.lists(st.text() | st.text('/;,="\\q01.*a-z \t'), max_size=4))
def test_e52_no_header_ever_raises(headers: list[str]) -> None:
    """With any content."""
    assert answered(*headers)
    assert len(media_ranges(headers)) <= 64
    assert isinstance(parse_accepts(headers), set)
    assert choose_coding(headers, ("zstd", "gzip")) in {None, "gzip", "zstd"}


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        (f"{ASKED}1.0.0;q=0.2,text/plain;version=0.0.4;q=0.3", TEXT4),
        (f"*/*,{ASKED}1.0.0", f"{OM}underscores"),
        (f"text/*,{ASKED}1.0.0;q=0.9", TEXT4),
        (f"text/*,*/*,{ASKED}1.0.0", f"{OM}underscores"),
        (f"{ASKED}0.0.1,{ASKED}1.0.0", OM0),
        (f"{ASKED}1.0.0;charset=latin-1;unknown=x", f"{OM}underscores"),
        ("text/plain;q=0", TEXT4),
        ("application/*", TEXT4),
    ],
)
def test_e53_the_supported_format_with_the_highest_weight(accept: str, answer: str) -> None:
    """Then the more specific, then the first; wildcards mean text."""
    assert answered(accept) == answer


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        ("text/plain", TEXT4),
        ("application/openmetrics-text", f"{OM}underscores"),
        (f"{ASKED}0.0.2", TEXT4),
        (f"{ASKED}abc", TEXT4),
        (f"{ASKED}", TEXT4),
        ("application/vnd.google.protobuf", TEXT4),
        ("application/vnd.google.protobuf;encoding=delimited", TEXT4),
        (PROTO.replace("delimited", "text"), TEXT4),
        (PROTO.replace("delimited", "compact-text"), TEXT4),
        (PROTO.replace("io.", "x."), TEXT4),
    ],
)
def test_e54_missing_and_unknown_parameters(accept: str, answer: str) -> None:
    """Without a version, the oldest standard; protobuf needs its parameters."""
    assert answered(accept) == answer


@pytest.mark.parametrize("scheme", ["allow-utf-8", "underscores", "dots", "values"])
def test_e55_the_scheme_of_the_selected_range(scheme: str) -> None:
    """Not of others; text 0.0.4 and OpenMetrics 0.0.1 have no schemes."""
    assert answered(f"{ASKED}1.0.0;escaping={scheme}") == OM + scheme
    assert answered(f"text/plain;version=1.0.0;escaping={scheme}") == TEXT1 + scheme
    assert answered(f"{PROTO};escaping={scheme}") == BINARY + scheme
    assert answered(f"text/plain;version=9;escaping={scheme},*/*;q=0.5") == TEXT4
    assert answered(f"{ASKED}0.0.1;escaping={scheme}") == OM0


@pytest.mark.parametrize("scheme", ["", "nonsense", "ALLOW-UTF-8", '"x\r\ny"'])
def test_e55_an_unknown_scheme_is_never_echoed(scheme: str) -> None:
    """It is replaced by underscores."""
    assert answered(f"{ASKED}1.0.0;escaping={scheme}") == f"{OM}underscores"


def test_e55_protobuf_by_option() -> None:
    """Prometheus requests no scheme for it."""
    chosen = negotiate([PROTO], protobuf_escaping="allow-utf-8")

    assert chosen().get_headers()["Content-Type"] == f"{BINARY}allow-utf-8"


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        *[
            (accept, TEXT4)
            for accept in (
                "",
                "*/*",
                "text/*",
                "text/plain",
                "text/html",
                "application/json",
                "garbage",
                ";;,,",
            )
        ],
        ("text/plain;version=1.0.0;escaping=values", f"{TEXT1}values"),
        ("text/plain;version=1.0.0", f"{TEXT1}underscores"),
        ("text/plain;version=9", TEXT4),
        (f"{ASKED}2.0.0", TEXT4),
        (f"{ASKED}2.0.0;q=0.9,{ASKED}1.0.0;q=0.1", f"{OM}underscores"),
        (f"text/plain;version=0.0.4;q=0.3,{ASKED}1.0.0;q=0.2", TEXT4),
        (f"{ASKED}1.0.0;q=0", TEXT4),
        ('application/openmetrics-text; version="1.0.0"; escaping=nonsense', f"{OM}underscores"),
        ("APPLICATION/OPENMETRICS-TEXT;VERSION=1.0.0", f"{OM}underscores"),
    ],
)
async def test_e56_the_table_of_content_types(accept: str, answer: str) -> None:
    """From a request to its response."""
    registry = CollectorRegistry()
    Counter("x_total", "", registry=registry).inc()
    response = await answer_to(registry, ScrapeRequest(accept=[accept]))

    assert (response.status, response.headers["Content-Type"]) == (200, answer)


async def test_e57_responses_have_vary() -> None:
    """Every 200, with and without a body."""
    for method in ("GET", "HEAD"):
        response = await answer_to(CollectorRegistry(), ScrapeRequest(method))
        assert response.headers["Vary"] == "Accept, Accept-Encoding"
