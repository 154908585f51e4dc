"""The label index of a collector: label set → series, without a look at every label.

Most callers use the same label names each time. So the group of label names that matched last is cached, with an
``itemgetter``: a look-up is one call that fetches all values, and one dict access.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import suppress
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

from otel_aioprom._core.labels import Pairs, canonical_pairs, pairs_to_find
from otel_aioprom._core.model import Series

T = TypeVar("T")
S = TypeVar("S", bound=Series)
Labels = Mapping[str, object]

_MISSING: Any = object()


class _Group(NamedTuple):
    """All entries with the same label names."""

    width: int
    key: Callable[[Labels], Any]
    children: dict[Any, Any]
    names: tuple[str, ...]

    def key_of(self, values: tuple[str, ...]) -> Any:
        return values[0] if self.width == 1 else values

    def labels(self, key: Any) -> dict[str, str]:
        return dict(zip(self.names, (key,) if self.width == 1 else key))


def _no_key(_: Labels) -> tuple[()]:
    return ()


def _make_group(names: tuple[str, ...]) -> _Group:
    # itemgetter returns a bare value for one name and a tuple for several: so are the keys.
    key = itemgetter(*names) if names else _no_key
    return _Group(len(names), key, {}, names)


class MetricDict(MutableMapping[Labels, T]):
    """A mapping keyed by label sets, whatever the order of their names.

    Label values are compared as the strings that are exposed, so ``{"code": 1}`` and ``{"code": "1"}`` are one
    key; ``None`` and ``{}`` are the key without labels, and a label with an empty value counts as absent.
    Iteration yields new dicts of ``str`` to ``str``: grouped by label names, groups and their entries in the
    order of first use.

    Thread-safe: every change is one dict operation.

    Args:
        const_labels: Labels that are part of every key.

    Raises:
        TypeError: On use: a key is no mapping.

    Examples:
        >>> store = MetricDict()
        >>> store[{"b": 2, "a": 1}] = "x"
        >>> store[{"a": "1", "b": "2"}], list(store)
        ('x', [{'a': '1', 'b': '2'}])
    """

    def __init__(self, const_labels: Mapping[str, str] | None = None) -> None:
        self._const_labels = dict(const_labels or {})
        self._bare: _Group = _make_group(())
        self._last_group: _Group = self._bare
        groups: dict[tuple[str, ...], _Group] = {(): self._bare}
        self._groups = groups
        self._layouts: dict[tuple[str, ...], _Group] = {}

    def find(self, labels: Labels | None) -> T | None:
        """Find the value of a label set.

        Args:
            labels: Names and values; ``None`` stands for none.

        Returns:
            The value, or ``None`` if there is none for these labels.

        Raises:
            TypeError: ``labels`` is no mapping.
        """
        found = self.find_quickly(labels)
        if found is None and labels is not None:
            children, key = self._locate(labels)
            found = children.get(key)
        return found

    def find_quickly(self, labels: Labels | None) -> T | None:
        """Find the value of a label set as it is written, for an order of names seen before.

        Returns:
            The value, or ``None``: then ``find`` may still find it in canonical form.

        Raises:
            TypeError: ``labels`` is no mapping.
        """
        if labels is None:
            return self._bare.children.get(())
        width, key, children, _ = self._last_group
        try:
            # Only plain dicts: others, such as defaultdict, may create missing names.
            if type(labels) is dict and len(labels) == width:
                found: T = children[key(labels)]
                return found
        except (KeyError, TypeError):
            pass
        return self._find_elsewhere(labels)

    def _find_elsewhere(self, labels: Labels) -> T | None:
        check_mapping(labels)
        group = self._layouts.get(tuple(labels))
        if group is None:
            return None
        try:
            found: T = group.children[group.key(labels)]
        except (KeyError, TypeError):
            return None
        self._last_group = group
        return found

    def add(
        self, labels: Labels | None, make: Callable[[tuple[str, ...], tuple[str, ...]], T]
    ) -> T:
        """Store a new value unless there is one; of several threads, one wins and all get its value.

        Args:
            labels: Names and values; ``None`` stands for none.
            make: Called with the names and values of the key, if there is no value; returns the value to store.
                The tuples of names are shared, so that keeping them costs nothing.

        Returns:
            What is stored for these labels from now on.
        """
        given = _given(labels)
        pairs = canonical_pairs(given, self._const_labels)
        group = self._group_for(pairs)
        if given and len(given) == group.width:
            self._layouts[tuple(given)] = group
            self._last_group = group
        values = tuple([value for _, value in pairs])
        key = group.key_of(values)
        stored: T | None = group.children.get(key)
        if stored is None:
            stored = group.children.setdefault(key, make(group.names, values))
        return stored

    def setdefault(self, labels: Labels | None, default: T) -> T:
        """Return the value for these labels, stored now if there was none."""
        return self.add(labels, lambda _names, _values: default)

    def _group_for(self, pairs: Pairs) -> _Group:
        names = tuple([name for name, _ in pairs])
        group = self._groups.get(names)
        return group if group is not None else self._groups.setdefault(names, _make_group(names))

    def __getitem__(self, labels: Labels | None) -> T:
        value = self.find(labels)
        if value is None:
            children, key = self._locate(labels)
            if key not in children:
                raise KeyError(labels)
        return value  # type: ignore[return-value]  # T may include None

    def __setitem__(self, labels: Labels | None, value: T) -> None:
        pairs = canonical_pairs(_given(labels), self._const_labels)
        group = self._group_for(pairs)
        group.children[group.key(dict(pairs))] = value

    def __delitem__(self, labels: Labels | None) -> None:
        children, key = self._locate(labels)
        if children.pop(key, _MISSING) is _MISSING:
            raise KeyError(labels)

    def take(self, labels: Labels | None) -> T | None:
        """Remove an entry and return its value; of several threads, one gets it."""
        children, key = self._locate(labels)
        return children.pop(key, None)

    def discard(self, labels: Labels | None, value: T) -> bool:
        """Remove an entry if it has this very value; return whether it had."""
        children, key = self._locate(labels)
        if children.get(key) is not value:
            return False
        found = children.pop(key, None)
        if found is not value and found is not None:  # another thread has stored it just now
            children.setdefault(key, found)
        return found is value

    def _locate(self, labels: Labels | None) -> tuple[dict[Any, T], Any]:
        pairs = pairs_to_find(_given(labels), self._const_labels)
        if pairs is None:
            return {}, None
        group = self._groups.get(tuple([name for name, _ in pairs]))
        return ({}, None) if group is None else (group.children, group.key(dict(pairs)))

    def __iter__(self) -> Iterator[dict[str, str]]:
        return (labels for labels, _ in self.entries())

    def __len__(self) -> int:
        return sum([len(group.children) for group in list(self._groups.values())])

    def entries(self) -> list[tuple[dict[str, str], T]]:
        """Return all label sets with their current values."""
        groups = list(self._groups.values())
        return [
            (group.labels(key), value)
            for group in groups
            # A copy first: while older interpreters create pairs, they may collect garbage, and a finalizer may record.
            for key, value in group.children.copy().items()
        ]

    def snapshot(self) -> list[T]:
        """Return all current values, in the order of iteration."""
        parts = [list(group.children.values()) for group in list(self._groups.values())]
        parts = [part for part in parts if part]
        return parts[0] if len(parts) == 1 else [value for part in parts for value in part]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MetricDict):
            return NotImplemented
        return self._plain() == other._plain()

    __hash__ = None  # type: ignore[assignment]

    def _plain(self) -> dict[Pairs, T]:
        return {tuple(sorted(labels.items())): value for labels, value in self.entries()}

    def clear(self) -> None:
        """Remove all entries."""
        for group in list(self._groups.values()):
            group.children.clear()

    def drain(self) -> list[T]:
        """Remove all entries, and return their values."""
        found: list[T] = []
        for group in list(self._groups.values()):
            with suppress(KeyError):  # it is empty
                while True:
                    found.append(group.children.popitem()[1])
        return found

    def count_values(self) -> dict[str, int]:
        """Return the number of distinct values of each label name."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for group in list(self._groups.values()):
            keys = list(group.children)
            columns = [keys] if group.width == 1 else zip(*keys)
            for name, column in zip(group.names, columns):
                found[name].update(column)
        return {name: len(values) for name, values in found.items()}


def _given(labels: Labels | None) -> Labels:
    """Return a key, ``None`` as the one without labels; refuse what is no mapping."""
    if labels is None:
        return {}
    if type(labels) is not dict:
        check_mapping(labels)
    return labels


def check_mapping(labels: object) -> None:
    """Refuse what is no mapping of names and values.

    Raises:
        TypeError: ``labels`` is no mapping.
    """
    if not isinstance(labels, Mapping):
        raise TypeError(f"labels must be a dict of names and values, not {labels!r}")


class FilledDict(MetricDict[S]):
    """A label index of a fixed list of series, built at the first look-up.

    The collection of a source replaces all series of a family at once, and few of them are ever looked up. If several
    threads build the index at once, the first one wins.

    Args:
        series: All series, no two with the same labels.
    """

    def __init__(self, series: Sequence[S]) -> None:
        self._unsorted: Sequence[S] | None = None
        super().__init__()
        self._unsorted = series

    @property
    def _groups(self) -> dict[tuple[str, ...], _Group]:
        """The groups, which every other method uses; built now if they were not."""
        unsorted = self._unsorted
        if unsorted is not None:
            self._sort(unsorted)
        return self._sorted

    @_groups.setter
    def _groups(self, groups: dict[tuple[str, ...], _Group]) -> None:
        self._sorted = groups

    def _sort(self, unsorted: Sequence[S]) -> None:
        store: MetricDict[S] = MetricDict()
        for series in unsorted:
            store[dict(series.pairs)] = series
        bare, groups = store._bare, store._groups  # noqa: SLF001 - the same class
        if self._unsorted is unsorted:  # no call from here on
            self._bare = self._last_group = bare
            self._sorted = groups
            self._unsorted = None

    def find_quickly(self, labels: Labels | None) -> S | None:
        """Find the series of a label set, see ``MetricDict.find_quickly``."""
        return super().find_quickly(labels) if self._groups else None

    def __len__(self) -> int:
        unsorted = self._unsorted
        return super().__len__() if unsorted is None else len(unsorted)
