"""Metric names, rule by rule: each test carries the number of its rule and the rule's own examples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_aioprom._core.names import is_valid_metric_name
from otel_aioprom.errors import TranslationError
from otel_aioprom.otel.names import Kind, metric_name, unit_suffix
from otel_aioprom.otel.units import unit_words

# kind, name, unit, produced name: every example of the rules on names with the default strategy.
PRODUCED: list[tuple[Kind, str, str | None, str]] = [
    ("counter", "foo.bar", "By", "foo_bar_bytes_total"),
    ("counter", "a.-_/b", None, "a_b_total"),
    ("gauge", "queue.age.", "s", "queue_age_seconds"),
    ("gauge", "größe→x", None, "gr_e_x"),
    ("counter", "1st.try", None, "_1st_try_total"),
    ("counter", "jobs.done.total", "ms", "jobs_done_milliseconds_total"),
    ("counter", "foo", None, "foo_total"),
    ("counter", "foo_total", None, "foo_total"),
    ("counter", "foo.total", "s", "foo_seconds_total"),
    ("counter", "total.requests", None, "total_requests_total"),
    ("gauge", "items.total", None, "items_total"),
    ("gauge", "dur_seconds", "s", "dur_seconds"),
    ("counter", "foo_seconds_total", "s", "foo_seconds_total"),
    ("gauge", "io.bytes_per_second", "By/s", "io_bytes_per_second"),
    ("counter", "bytes.sent", "By", "bytes_sent_bytes_total"),
    ("gauge", "foo_milliseconds", "s", "foo_milliseconds_seconds"),
    ("gauge", "mem", "TiBy", "mem_tebibytes"),
    ("gauge", "buf", "kBy", "buf_kilobytes"),
    ("counter", "hits", "1", "hits_total"),
    ("gauge", "n", "1", "n"),
    ("histogram", "r", "1", "r"),
]

TABLE_OF_UNITS = {
    "d": "days",
    "h": "hours",
    "min": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "By": "bytes",
    "KiBy": "kibibytes",
    "MiBy": "mebibytes",
    "GiBy": "gibibytes",
    "TiBy": "tebibytes",
    "kBy": "kilobytes",
    "MBy": "megabytes",
    "GBy": "gigabytes",
    "TBy": "terabytes",
    "m": "meters",
    "V": "volts",
    "A": "amperes",
    "J": "joules",
    "W": "watts",
    "g": "grams",
    "Cel": "celsius",
    "Hz": "hertz",
    "%": "percent",
}


def test_m8_default_strategy_escapes_and_adds_suffixes() -> None:
    """Without a choice, characters are escaped and unit and ``_total`` are added."""
    assert metric_name("foo.bar", "By", kind="counter") == "foo_bar_bytes_total"


@pytest.mark.parametrize(
    ("kind", "name", "unit", "expected"),
    [
        ("counter", "a.-_/b", None, "a_b_total"),
        ("gauge", "queue.age.", "s", "queue_age_seconds"),
        ("gauge", "größe→x", None, "gr_e_x"),
        ("gauge", "ns:sub", None, "ns:sub"),
        ("gauge", "a::b", None, "a::b"),
        ("gauge", "_edge.", None, "_edge_"),
    ],
)
def test_m9_runs_of_other_characters_become_one_underscore(
    kind: Kind, name: str, unit: str | None, expected: str
) -> None:
    """Runs become one underscore, at joins too; colons stay, and so do underscores at the ends."""
    assert metric_name(name, unit, kind=kind) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("1st.try", "_1st_try_total"), ("1abc", "_1abc_total"), ("2abc", "_2abc_total")],
)
def test_m10_a_leading_digit_is_kept_behind_an_underscore(name: str, expected: str) -> None:
    """Names that differ in their digit alone stay two names."""
    assert metric_name(name, None, kind="counter") == expected


def test_m11_the_unit_stands_before_the_type_suffix() -> None:
    """Prefix, name, unit, ``_total``: in this order."""
    assert metric_name("jobs.done.total", "ms", kind="counter") == "jobs_done_milliseconds_total"
    assert metric_name("c", "s", kind="counter", prefix="p") == "p_c_seconds_total"


@pytest.mark.parametrize(
    ("name", "unit", "expected"),
    [
        ("foo", None, "foo_total"),
        ("foo_total", None, "foo_total"),
        ("foo.total", "s", "foo_seconds_total"),
        ("total.requests", None, "total_requests_total"),
    ],
)
def test_m12_counters_end_in_total_once(name: str, unit: str | None, expected: str) -> None:
    """Only the end of the name counts."""
    assert metric_name(name, unit, kind="counter") == expected


@pytest.mark.parametrize("kind", ["gauge", "histogram", "summary"])
@pytest.mark.parametrize(("name", "expected"), [("items.total", "items_total"), ("items", "items")])
def test_m12_other_types_neither_get_nor_lose_total(kind: Kind, name: str, expected: str) -> None:
    """Where ``_total`` means nothing, it is a word like any other."""
    assert metric_name(name, None, kind=kind) == expected


@pytest.mark.parametrize(
    ("kind", "name", "unit", "expected"),
    [
        ("gauge", "dur_seconds", "s", "dur_seconds"),
        ("counter", "foo_seconds_total", "s", "foo_seconds_total"),
        ("gauge", "io.bytes_per_second", "By/s", "io_bytes_per_second"),
        ("counter", "bytes.sent", "By", "bytes_sent_bytes_total"),
        ("gauge", "foo_milliseconds", "s", "foo_milliseconds_seconds"),
        ("gauge", "seconds", "s", "seconds"),
    ],
)
def test_m13_unit_suffix_is_compared_at_the_end(
    kind: Kind, name: str, unit: str, expected: str
) -> None:
    """A unit that the name ends with, in whole words, is not added again."""
    assert metric_name(name, unit, kind=kind) == expected


@pytest.mark.parametrize(("kind", "name", "unit", "produced"), PRODUCED)
def test_m13_translation_is_idempotent(
    kind: Kind, name: str, unit: str | None, produced: str
) -> None:
    """A produced name with the same unit gives the same name."""
    assert metric_name(name, unit, kind=kind) == produced
    assert metric_name(produced, unit, kind=kind) == produced


@pytest.mark.parametrize(("unit", "word"), TABLE_OF_UNITS.items())
def test_m14_units_become_words(unit: str, word: str) -> None:
    """Each code of the table has its word, in the name too."""
    assert unit_words(unit) == word
    assert metric_name("x", unit, kind="gauge") == f"x_{word}"


def test_m14_the_usual_mistakes_are_not_made() -> None:
    """The table says tebibytes and knows kBy; KBy is an alias."""
    assert metric_name("mem", "TiBy", kind="gauge") == "mem_tebibytes"
    assert metric_name("buf", "kBy", kind="gauge") == "buf_kilobytes"
    assert metric_name("buf", "KBy", kind="gauge") == "buf_kilobytes"


@pytest.mark.parametrize("unit", ["S", "BY", "mS", "Min", "KIBY"])
def test_m14_codes_are_case_sensitive(unit: str) -> None:
    """Another case is another code, here an unknown one."""
    assert unit_words(unit) == unit


@pytest.mark.parametrize(
    ("unit", "words"),
    [("{packet}", ""), ("By{payload}", "bytes"), ("{a}s{b}", "seconds"), ("{}", "")],
)
def test_m15_brackets_are_dropped_pair_by_pair(unit: str, words: str) -> None:
    """Annotations are no part of the unit, wherever they stand."""
    assert unit_words(unit) == words


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        ("m/s", "meters_per_second"),
        ("By/s", "bytes_per_second"),
        ("{req}/s", "per_second"),
        ("1/s", "per_second"),
        ("ms/{call}", "milliseconds"),
        ("km/h", "km_per_hour"),
        ("%/min", "percent_per_minute"),
        ("/", ""),
        ("{a}/{b}", ""),
        ("By/m", "bytes_per_minute"),
        ("By/d", "bytes_per_day"),
        ("By/w", "bytes_per_week"),
        ("By/wk", "bytes_per_week"),
        ("By/mo", "bytes_per_month"),
        ("By/y", "bytes_per_year"),
        ("By/a", "bytes_per_year"),
        ("By / s", "bytes_per_second"),
        ("By/furlong", "bytes_per_furlong"),
    ],
)
def test_m16_rates_become_words(unit: str, words: str) -> None:
    """The first slash becomes *per*, and what is behind it a singular."""
    assert unit_words(unit) == words


@pytest.mark.parametrize(
    ("name", "expected"), [("cpu.util", "cpu_util_ratio"), ("cpu.ratio", "cpu_ratio")]
)
def test_m17_plain_numbers_in_gauges_are_ratios(name: str, expected: str) -> None:
    """An OpenTelemetry Gauge with the unit ``1`` ends in ``_ratio``, once."""
    assert metric_name(name, "1", kind="gauge", ratio=True) == expected
    assert metric_name(expected, "1", kind="gauge", ratio=True) == expected
    assert unit_suffix("1", ratio=True) == "ratio"


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [("counter", "hits", "hits_total"), ("gauge", "n", "n"), ("histogram", "r", "r")],
)
def test_m17_plain_numbers_elsewhere_have_no_suffix(kind: Kind, name: str, expected: str) -> None:
    """The unit ``1`` of sums, also of those that become gauges, and of histograms says nothing."""
    assert metric_name(name, "1", kind=kind) == expected


@pytest.mark.parametrize(
    ("unit", "words"),
    [("custom unit", "custom_unit"), ("madeup", "madeup"), ("m2", "m2"), ("_edge_", "edge")],
)
def test_m18_other_units_stay_as_they_are(unit: str, words: str) -> None:
    """Unknown units keep their letters; the rest becomes underscores, none at the ends."""
    assert unit_words(unit) == words
    assert metric_name("x", unit, kind="gauge") == f"x_{words}"


def test_m19_prefix_is_joined_before_escaping() -> None:
    """The prefix is translated with the name."""
    assert metric_name("foo", "s", kind="counter", prefix="my.app") == "my_app_foo_seconds_total"


def test_m20_a_name_without_legal_characters_is_an_error_of_its_own() -> None:
    """What is left of the name would be underscores: the caller can drop this metric alone."""
    with pytest.raises(TranslationError) as caught:
        metric_name("→→", None, kind="counter")

    assert caught.value.metric == "→→"


@given(
    st.text(),
    st.text(max_size=10),
    st.sampled_from(["counter", "gauge", "histogram", "summary"]),
    st.booleans(),
)
def test_m9_to_m20_hold_for_any_string(name: str, unit: str, kind: Kind, ratio: bool) -> None:
    """Any name and unit give a classic name that stays as it is, or a refusal."""
    try:
        produced = metric_name(name, unit, kind=kind, ratio=ratio)
    except TranslationError:
        return

    assert is_valid_metric_name(produced)
    assert metric_name(produced, unit, kind=kind, ratio=ratio) == produced
