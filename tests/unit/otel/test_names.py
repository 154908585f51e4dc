"""Names of families and labels made from OpenTelemetry's."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_aioprom._core.names import is_valid_label_name, is_valid_metric_name
from otel_aioprom.errors import TranslationError
from otel_aioprom.otel.names import (
    Kind,
    TranslationStrategy,
    find_strategy,
    label_name,
    metric_name,
    unit_suffix,
)

KINDS: list[Kind] = ["counter", "gauge", "histogram", "summary"]
UNITS = st.sampled_from(
    [None, "", "1", "s", "By/s", "{x}", "total", "ratio", "x_total", "1st", "a:b"]
) | st.text(max_size=8)
# Words that the rules treat in their own way, glued together in every order.
NAMES = st.text() | st.lists(
    st.sampled_from(["total", "ratio", "seconds", "x", "1", "_", ".", ":", "→", "per"]), min_size=1
).map("".join)


@pytest.mark.parametrize("kind", ["gauge", "histogram", "summary"])
@pytest.mark.parametrize(
    ("name", "unit", "expected"),
    [
        ("foo", None, "foo"),
        ("foo", "s", "foo_seconds"),
        ("foo_", "s", "foo_seconds"),
        ("foo_", None, "foo_"),
        ("_foo", None, "_foo"),
        ("seconds", "s", "seconds"),
        ("foo_seconds", "s", "foo_seconds"),
        ("fooseconds", "s", "fooseconds_seconds"),
        ("foo:seconds", "s", "foo:seconds_seconds"),
        ("foo_total", None, "foo_total"),
        ("foo_total", "s", "foo_total_seconds"),
        ("foo_seconds_total", "s", "foo_seconds_total"),
        ("foo", "total", "foo_total"),
        ("foo_total", "total", "foo_total"),
        ("foo", "1", "foo"),
        ("9", "s", "_9_seconds"),
        ("_total", "s", "_total_seconds"),
    ],
)
def test_metrics_without_a_type_suffix_get_the_unit_only(
    kind: Kind, name: str, unit: str | None, expected: str
) -> None:
    """Gauges, histograms and summaries end in their unit, once."""
    assert metric_name(name, unit, kind=kind) == expected


@pytest.mark.parametrize(
    ("name", "unit", "expected"),
    [
        ("foo", None, "foo_total"),
        ("foo_total", None, "foo_total"),
        ("foo_", None, "foo_total"),
        ("total", None, "total_total"),
        ("foo_total_total", None, "foo_total_total"),
        ("foo.total", "s", "foo_seconds_total"),
        ("foo.seconds", "s", "foo_seconds_total"),
        ("foo", "total", "foo_total_total"),
        ("_total", None, "_total"),
        ("_total", "s", "_seconds_total"),
        ("hits", "1", "hits_total"),
    ],
)
def test_counters_end_in_total_behind_the_unit(name: str, unit: str | None, expected: str) -> None:
    """A counter's own ``_total`` makes room for the unit and stands once at the end."""
    assert metric_name(name, unit, kind="counter") == expected


@pytest.mark.parametrize(
    ("name", "unit", "expected"),
    [
        ("util", "1", "util_ratio"),
        ("util_ratio", "1", "util_ratio"),
        ("ratio", "1", "ratio"),
        ("util", "1/s", "util_per_second"),
        ("util", "1{x}", "util"),
        ("util", None, "util"),
        ("util", "s", "util_seconds"),
    ],
)
def test_a_plain_number_in_a_gauge_is_a_ratio(name: str, unit: str | None, expected: str) -> None:
    """Only the unit ``1`` itself is a ratio, and only where the data are a gauge."""
    assert metric_name(name, unit, kind="gauge", ratio=True) == expected


def test_unit_suffix_is_what_the_name_ends_with() -> None:
    """The words for the unit's own line are the words of the name."""
    assert unit_suffix("1", ratio=True) == "ratio"
    assert unit_suffix("1") == ""
    assert unit_suffix("By/s", ratio=True) == "bytes_per_second"
    assert unit_suffix(None) == ""


@pytest.mark.parametrize(
    ("prefix", "name", "expected"),
    [
        ("my.app", "foo", "my_app_foo"),
        ("app_", "foo", "app_foo"),
        ("1app", "foo", "_1app_foo"),
        ("app", "1st", "app_1st"),
        ("", "foo", "foo"),
    ],
)
def test_the_prefix_is_translated_with_the_name(prefix: str, name: str, expected: str) -> None:
    """Prefix and name are joined first, so that the rules see one name."""
    assert metric_name(name, None, kind="gauge", prefix=prefix) == expected


@pytest.mark.parametrize("name", ["", "_", "→→", "_→_", "ようこそ", "\ud800"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_name_without_a_legal_character_is_refused(name: str, kind: Kind) -> None:
    """Suffixes alone are no name; the error says which metric it was."""
    with pytest.raises(TranslationError) as caught:
        metric_name(name, "s", kind=kind)

    assert caught.value.metric == name
    assert "legal" in caught.value.reason


def test_another_strategy_is_only_other_data() -> None:
    """A strategy escapes each part and joins them."""
    listing = TranslationStrategy(
        name="Listing",
        escape=str,
        escape_unit=str,
        complete=lambda *parts: " ".join(parts),
        label=str,
    )

    assert (
        metric_name("x", "custom unit", kind="counter", strategy=listing) == "x custom unit counter"
    )


@pytest.mark.parametrize(
    "name",
    [
        "NoTranslation",
        "no_translation/development",
        "notranslation",
        "NO_TRANSLATION",
    ],
)
def test_strategies_are_found_by_both_of_their_names(name: str) -> None:
    """The specification's, and the one of declarative configuration."""
    assert find_strategy(name).name == "NoTranslation"


@pytest.mark.parametrize("name", ["", "None", "translation", None, 3])
def test_unknown_strategies_are_refused_with_the_known_ones(name: Any) -> None:
    """All four of them."""
    with pytest.raises(ValueError, match=r"UnderscoreEscapingWithSuffixes, .*NoTranslation"):
        find_strategy(name)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("http.method", "http_method"),
        ("a:b", "a_b"),
        ("x___", "x_"),
        ("__r__", "_r_"),
        ("1a", "key_1a"),
        ("_1a", "_1a"),
        ("ようこそ", "_"),
        ("٣", "_"),
        ("\ud800", "_"),
        ("a\nb", "a_b"),
        ("", "_"),
    ],
)
def test_label_names_are_classic(key: str, name: str) -> None:
    """Every key gives a label name that needs no quotes."""
    assert label_name(key) == name


def test_label_names_are_remembered_within_bounds() -> None:
    """Keys may come from strangers, so the memory for them does not grow for ever."""
    bound = label_name.cache_info().maxsize

    assert bound is not None
    assert bound < 100_000


@given(
    name=NAMES,
    unit=UNITS,
    kind=st.sampled_from(KINDS),
    ratio=st.booleans(),
    prefix=st.text(max_size=5),
)
def test_every_name_is_classic_or_refused(
    name: str, unit: str, kind: Kind, ratio: bool, prefix: str
) -> None:
    """No name, unit and prefix make a name that a Prometheus cannot read, or has runs of underscores."""
    try:
        produced = metric_name(name, unit, kind=kind, ratio=ratio, prefix=prefix)
    except TranslationError:
        assert not re.search("[a-zA-Z0-9:]", f"{prefix}{name}")
    else:
        assert is_valid_metric_name(produced)
        assert "__" not in produced
        assert kind != "counter" or produced.endswith("_total")


@given(name=NAMES, unit=UNITS, kind=st.sampled_from(KINDS), ratio=st.booleans())
def test_translating_a_produced_name_changes_nothing(
    name: str, unit: str, kind: Kind, ratio: bool
) -> None:
    """A metric whose author already follows Prometheus' conventions keeps its name."""
    try:
        produced = metric_name(name, unit, kind=kind, ratio=ratio)
    except TranslationError:
        return

    assert metric_name(produced, unit, kind=kind, ratio=ratio) == produced


@given(st.text())
def test_every_label_name_is_valid_and_stays(key: str) -> None:
    """Label names are never Prometheus' own, and translating one again changes nothing."""
    name = label_name(key)

    assert is_valid_label_name(name)
    assert "__" not in name
    assert label_name(name) == name
