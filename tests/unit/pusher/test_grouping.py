"""Groups of pushes: which ones there can be, and how they stand in addresses."""

from __future__ import annotations

import pytest

from gateway import extra_labels, group_of
from otel_aioprom.errors import InvalidLabelsError
from otel_aioprom.pusher.grouping import check_group, group_path

GATEWAY = "/metrics/job/{0}"
IMPORT = "/api/v1/import/prometheus"


def test_the_job_comes_first_and_labels_are_sorted() -> None:
    """Whatever their names, and in whatever order they are given."""
    group = check_group("j", {"b": "1", "a": "2", "_": "3", "B": "4"})

    assert group == (("job", "j"), ("B", "4"), ("_", "3"), ("a", "2"), ("b", "1"))
    assert check_group("j", {}) == (("job", "j"),)


@pytest.mark.parametrize(
    "name", ["", "a-b", "a.b", "1a", "a b", "é", "a:b", "__a", "__name__", "job", "a\n", "a/b"]
)
def test_a_label_that_a_path_cannot_carry_is_refused(name: str) -> None:
    """The error names it, and the labels it came with."""
    with pytest.raises(InvalidLabelsError) as caught:
        check_group("j", {"fine": "1", name: "x"})

    assert repr(name) in str(caught.value)
    assert caught.value.labels == {"fine": "1", name: "x"}


def test_a_name_that_is_no_string_is_rejected() -> None:
    """As any other name that is none."""
    with pytest.raises(InvalidLabelsError, match="1: letters"):
        check_group("j", {1: "x"})  # type: ignore[dict-item]


@pytest.mark.parametrize("value", [None, 1, b"x", ["x"]])
def test_values_are_strings(value: object) -> None:
    """The error says which one is not."""
    with pytest.raises(TypeError, match="the grouping label a must be a string"):
        check_group("j", {"a": value})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="the job's name must be a string"):
        check_group(value, {})  # type: ignore[arg-type]


def test_there_is_a_job() -> None:
    """No gateway takes a push without one."""
    with pytest.raises(ValueError, match="job's name must not be empty"):
        check_group("", {"a": "b"})


def test_halves_of_characters_are_refused() -> None:
    """UTF-8 cannot carry them, and one such label breaks a gateway for all."""
    with pytest.raises(ValueError, match="job's name contains a lone surrogate"):
        check_group("a\ud800", {})
    with pytest.raises(ValueError, match="grouping label b contains a lone surrogate"):
        check_group("j", {"a": "fine", "b": "\udcff"})


@pytest.mark.parametrize(
    ("value", "segment"),
    [
        ("i", "x/i"),
        ("", "x@base64/="),
        (".", "x@base64/Lg"),
        ("..", "x@base64/Li4"),
        ("...", "x/..."),
        ("/", "x@base64/Lw"),
        ("/data/in", "x@base64/L2RhdGEvaW4"),
        ("??/>>>", "x@base64/Pz8vPj4-"),
        ("a b", "x/a%20b"),
        ("a+b", "x/a%2Bb"),
        ("a%2Fb", "x/a%252Fb"),
        ("a?b#c", "x/a%3Fb%23c"),
        ("Az09-._~", "x/Az09-._~"),
        ("é", "x/%C3%A9"),
        ("é/", "x@base64/w6kv"),
        ("@base64", "x/%40base64"),
        ("\n\x00", "x/%0A%00"),
    ],
)
def test_a_value_stands_in_a_path_so_that_it_arrives(value: str, segment: str) -> None:
    """In base64 where a server cleans paths up, else percent-encoded."""
    path = group_path(GATEWAY, (("job", "j"), ("x", value)))

    assert path == f"/metrics/job/j/{segment}"
    assert group_of(path) == {"job": "j", "x": value}


@pytest.mark.parametrize(
    ("job", "path"),
    [
        ("j", "/metrics/job/j"),
        ("my job", "/metrics/job/my%20job"),
        ("a/b", "/metrics/job@base64/YS9i"),
        (".", "/metrics/job@base64/Lg"),
        ("..", "/metrics/job@base64/Li4"),
        ("{0}", "/metrics/job/%7B0%7D"),
    ],
)
def test_a_job_is_written_like_a_label(job: str, path: str) -> None:
    """It may be any string except the empty one."""
    assert group_path(GATEWAY, (("job", job),)) == path
    assert group_of(path) == {"job": job}


def test_a_path_of_ones_own_may_have_the_job_elsewhere() -> None:
    """Where ``job/`` does not stand in front, base64 would not be understood."""
    group = (("job", "a b/c"), ("x", "/"))

    assert group_path("/push/{0}", group) == "/push/a%20b%2Fc/x@base64/Lw"
    assert group_path("/p/metrics/job/{0}", group) == "/p/metrics/job@base64/YSBiL2M/x@base64/Lw"


@pytest.mark.parametrize("template", [IMPORT, f"{IMPORT}?timestamp=1", f"{IMPORT}?"])
def test_a_path_without_a_place_for_the_job_has_labels_in_its_query(template: str) -> None:
    """As VictoriaMetrics' import wants them; a query that is there stays."""
    group = (("job", "a b&c"), ("dir", "/in"), ("eq", "a=b"), ("none", ""), ("u", "é+"))
    path = group_path(template, group)

    assert path.startswith(template)
    assert path.isascii()
    assert extra_labels(path) == dict(group)
