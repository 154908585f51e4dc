"""The label index of a collector: label set → series."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from otel_aioprom.collectors.series.label_index import FilledDict, MetricDict
from otel_aioprom.collectors.series.number import NumberSeries


class Slow(Mapping[str, object]):
    """A mapping that is no dict."""

    def __init__(self, **labels: object) -> None:
        self._labels = labels

    def __getitem__(self, name: str) -> object:
        return self._labels[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._labels)

    def __len__(self) -> int:
        return len(self._labels)


def stored(*label_sets: dict[str, Any]) -> MetricDict[Any]:
    """An index with the numbers from 0 on under these label sets."""
    store: MetricDict[Any] = MetricDict()
    for value, labels in enumerate(label_sets):
        store[labels] = value
    return store


def test_every_order_of_names_finds_the_value() -> None:
    """Also after other layouts were used in between."""
    store = stored({"a": "1", "b": "2"}, {"a": "1"}, {})
    for _ in range(2):
        assert store[{"b": "2", "a": "1"}] == 0
        assert store[{"a": "1", "b": "2"}] == 0
        assert store[Slow(b=2, a=1)] == 0
        assert store[{"a": 1}] == 1
        assert store[{}] == store[None] == 2


def test_layouts_of_several_groups_are_cached() -> None:
    """Look-ups that alternate between label names, known and unknown, stay right."""
    store: MetricDict[str] = MetricDict()
    for labels in ({"a": "1"}, {"b": "1"}, {"b": "2", "c": "1"}):
        store.add(labels, lambda names, values: f"{names}{values}")
    for _ in range(2):
        assert store[{"a": "1"}] == "('a',)('1',)"
        assert store[{"b": "1"}] == "('b',)('1',)"
        assert store[{"c": "1", "b": "2"}] == "('b', 'c')('2', '1')"
        for labels in (
            {"a": "2"},
            {"b": "3"},
            {"a": ["unhashable"]},
            {"c": "2", "b": "2"},
            {"d": 1},
        ):
            assert store.find(labels) is None


def test_values_are_compared_as_strings() -> None:
    """Numbers, unhashable values and surrogates find what their strings have stored."""
    store = stored({"a": [1]}, {"a": 1}, {"a": "\ud800"})

    assert store[{"a": "[1]"}] == store[{"a": [1]}] == 0
    assert store[{"a": "1"}] == 1
    assert store[{"a": "\ufffd"}] == 2


def test_an_empty_value_counts_as_absent() -> None:
    """For Prometheus the two are the same."""
    store = stored({"a": "", "b": "1"})

    assert store[{"b": "1"}] == 0
    assert list(store) == [{"b": "1"}]


def test_a_mapping_with_defaults_is_read_as_it_stands() -> None:
    """A look-up must not make a mapping create labels, nor find another value by them."""

    class Inventive(dict[str, object]):
        def __missing__(self, name: str) -> object:
            return self.setdefault(name, "1")

    store = stored()
    store.add({"a": "1"}, lambda names, values: "other")
    labels = Inventive(b="2")

    assert store.find(labels) is None
    assert labels == {"b": "2"}


def test_constant_labels_need_not_be_named() -> None:
    """Repeating one makes no difference, another value of one is another key."""
    store: MetricDict[int] = MetricDict({"app": "shop"})
    store[{"a": "1", "app": "shop"}] = 1
    store[{"a": "1", "app": "mail"}] = 2

    assert store[{"a": "1"}] == 1
    assert list(store.items()) == [({"a": "1"}, 1), ({"a": "1", "app": "mail"}, 2)]


@pytest.mark.parametrize("labels", ["a", [("a", "1")], 5, {"a"}, object()])
def test_what_is_no_mapping_raises_type_error(labels: Any) -> None:
    """It is no key, whatever was stored before."""
    for store in (stored(), stored({"a": "1"})):
        with pytest.raises(TypeError):
            store.find(labels)


def test_names_that_cannot_be_sorted_are_not_found() -> None:
    """They are no valid label names, so nothing can be stored under them."""
    labels: Any = {1: "a", "b": "c"}
    store = stored({"b": "c"})

    assert store.find(labels) is None
    assert store.take(labels) is None
    with pytest.raises(KeyError):
        del store[labels]


def test_none_is_a_value_too() -> None:
    """What is stored can be read and deleted, whatever it is."""
    store: MetricDict[Any] = MetricDict()
    store[{"a": 1}] = None

    assert store[{"a": "1"}] is None
    assert {"a": 1} in store
    del store[{"a": 1}]
    with pytest.raises(KeyError):
        store[{"a": 1}]
    with pytest.raises(KeyError):
        del store[{"a": 1}]


def test_an_empty_mapping_of_any_kind_is_no_labels() -> None:
    """Other empty things are not."""
    store = stored({})

    assert store[Slow()] == store[{}] == 0
    for nothing in ([], (), "", set()):
        with pytest.raises(TypeError, match="must be a dict"):
            store.find(nothing)  # type: ignore[arg-type]


def test_indexes_with_equal_entries_are_equal() -> None:
    """Constant labels and the order of use do not matter; other types are never equal."""
    one, other = stored({"a": "1"}, {"b": 1}), stored({"a": 1})
    differ = one != other
    other[{"b": "1"}] = 1

    assert differ
    assert one == other
    assert one != {}
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


def test_add_keeps_the_first_value() -> None:
    """A second ``add`` returns what is there; ``make`` gets names and values of the key."""
    store: MetricDict[Any] = MetricDict()
    first = store.add({"b": 2, "a": 1}, lambda names, values: (names, values))
    second = store.add({"a": 1, "b": 2}, lambda names, values: "other")

    assert first is second
    assert first == (("a", "b"), ("1", "2"))
    assert store.add(None, lambda names, values: (names, values)) == ((), ())


def test_setdefault_stores_only_once() -> None:
    """As in every mapping."""
    store: MetricDict[int] = MetricDict()

    assert [store.setdefault({"a": 1}, value) for value in (1, 2)] == [1, 1]


def test_deleting_removes_one_key() -> None:
    """An unknown key raises KeyError, whether its names are known or not."""
    store = stored({"a": "1"}, {"a": "2"}, {})
    del store[{"a": 1}]
    del store[None]
    for labels in ({"a": "1"}, {}, {"b": "1"}):
        with pytest.raises(KeyError):
            del store[labels]
        with pytest.raises(KeyError):
            store[labels]

    assert list(store.items()) == [({"a": "2"}, 1)]


def test_iteration_yields_new_dicts_by_group() -> None:
    """Groups stand in the order of first use, and so do entries within them."""
    store = stored({"a": "2"}, {"b": "1", "a": "1"}, {"a": "1"}, {})
    expected = [{}, {"a": "2"}, {"a": "1"}, {"a": "1", "b": "1"}]
    next(iter(store))["spoilt"] = "yes"

    assert list(store) == expected
    assert [labels for labels, _ in store.entries()] == expected
    assert store.snapshot() == [3, 0, 2, 1]
    assert len(store) == 4


def test_clear_removes_everything() -> None:
    """The index can be used again."""
    store = stored({"a": "1"}, {})
    store.clear()
    emptied = (len(store), list(store), store.find({"a": "1"}))
    store[{"a": "1"}] = 5

    assert emptied == (0, [], None)
    assert store[{"a": "1"}] == 5


@pytest.fixture
def filled() -> FilledDict[NumberSeries]:
    """An index that was filled with two series."""
    return FilledDict(
        [NumberSeries(("a", "b"), ("1", "2"), '{a="1",b="2"} ', 7), NumberSeries(value=8)]
    )


def test_a_filled_index_is_built_at_the_first_look_up(filled: FilledDict[NumberSeries]) -> None:
    """Length, look-up and entries are right before and after."""
    before = len(filled)

    assert (before, filled[{"b": 2, "a": 1}].value, len(filled)) == (2, 7, 2)
    assert filled[{}].value == 8
    assert [labels for labels, _ in filled.entries()] == [{}, {"a": "1", "b": "2"}]


def test_a_filled_index_lists_its_entries_at_once(filled: FilledDict[NumberSeries]) -> None:
    """Listing builds the index."""
    assert [(labels, series.value) for labels, series in filled.entries()] == [
        ({}, 8),
        ({"a": "1", "b": "2"}, 7),
    ]


def test_a_filled_index_returns_its_values_at_once(filled: FilledDict[NumberSeries]) -> None:
    """Without a look-up first."""
    assert sorted([series.value for series in filled.snapshot()]) == [7, 8]


def test_a_filled_index_can_be_cleared_at_once(filled: FilledDict[NumberSeries]) -> None:
    """The first look-up does not bring the series back."""
    filled.clear()

    assert filled.find({}) is None
    assert len(filled) == 0


def test_a_series_of_a_filled_index_can_be_deleted_at_once(
    filled: FilledDict[NumberSeries],
) -> None:
    """Without a look-up first."""
    del filled[{}]

    assert len(filled) == 1


def test_a_filled_index_finds_the_series_without_labels_first(
    filled: FilledDict[NumberSeries],
) -> None:
    """``None`` and ``{}`` are a shortcut in every index."""
    found = filled.find(None)

    assert found is not None
    assert found.value == 8
    assert filled.find({}) is found


def test_a_filled_index_is_built_by_the_fastest_thread(filled: FilledDict[NumberSeries]) -> None:
    """The second one finds the index built, and changes nothing."""
    unsorted = filled._unsorted
    assert unsorted is not None
    filled._sort(unsorted)
    filled[{"new": "1"}] = NumberSeries(value=9)
    filled._sort(unsorted)

    assert sorted([series.value for series in filled.snapshot()]) == [7, 8, 9]


def test_a_replaced_entry_is_not_discarded() -> None:
    """Not even if it is replaced between the check and the removal."""
    store: MetricDict[object] = MetricDict()
    old, new = object(), object()
    store[{"a": "1"}] = old
    assert not store.discard({"a": "1"}, new)
    children, key = store._locate({"a": "1"})

    class Quick(dict[Any, Any]):
        """Another thread is faster."""

        def get(self, *args: Any) -> Any:
            found = super().get(*args)
            self[key] = new
            return found

    group = store._groups["a",]
    store._groups["a",] = group._replace(children=Quick(children))

    assert not store.discard({"a": "1"}, old)
    assert store._groups["a",].children == {key: new}


@pytest.mark.parametrize("key", ["x", "", 0, [], ("a", "1"), b"{}"])
@pytest.mark.parametrize(
    "use",
    [
        lambda store, key: store.__setitem__(key, 1),
        lambda store, key: store[key],
        lambda store, key: store.__delitem__(key),
        lambda store, key: key in store,
        lambda store, key: store.get(key),
        lambda store, key: store.setdefault(key, 1),
        lambda store, key: store.pop(key, None),
    ],
)
def test_n12_a_key_that_is_no_label_set_is_refused(use: Any, key: Any) -> None:
    """Falsy ones too, which are not the key without labels; nothing is stored."""
    store: MetricDict[Any] = MetricDict()

    with pytest.raises(TypeError, match=r"labels must be a dict of names and values, not "):
        use(store, key)
    assert len(store) == 0
