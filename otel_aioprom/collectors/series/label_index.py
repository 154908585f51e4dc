"""The store of a collector: label set → series, found without looking at every label.

Most callers use the same label names each time. So the names of the last miss are remembered as
a ready getter: a look-up is one call that fetches all values and one in a dict.
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
    """All entries that have the same label names."""

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
    # itemgetter gives a bare value for one name and a tuple for more: keys follow it.
    key = itemgetter(*names) if names else _no_key
    return _Group(len(names), key, {}, names)


class MetricDict(MutableMapping[Labels, T]):
    """A mapping whose keys are label sets, whatever the order of their names.

    Values of labels are compared as the text that is exposed, so ``{"code": 1}`` and
    ``{"code": "1"}`` are one key; ``None`` and ``{}`` are the key without labels, and a label with
    an empty value counts as absent. Iteration gives new dicts of ``str`` to ``str``: groups of equal label
    names in the order of their first use, and within them the order of first use.

    Safe to use from many threads: every change is one dict operation.

    Args:
        const_labels: Labels that each key has without naming them.

    Examples:
        >>> store = MetricDict()
        >>> store[{"b": 2, "a": 1}] = "x"
        >>> store[{"a": "1", "b": "2"}], list(store)
        ('x', [{'a': '1', 'b': '2'}])
    """

    def __init__(self, const_labels: Mapping[str, str] | None = None) -> None:
        self._const_labels = dict(const_labels or {})
        self._bare: _Group = _make_group(())
        self._usual: _Group = self._bare
        groups: dict[tuple[str, ...], _Group] = {(): self._bare}
        self._groups = groups
        self._layouts: dict[tuple[str, ...], _Group] = {}

    def find(self, labels: Labels | None) -> T | None:
        """Look a label set up.

        Args:
            labels: Names and values; ``None`` stands for none.

        Returns:
            The value, or ``None`` if there is none for these labels.

        Raises:
            TypeError: ``labels`` is no mapping.
        """
        found = self.find_quickly(labels)
        return self._find_canonical(labels) if found is None and labels is not None else found

    def find_quickly(self, labels: Labels | None) -> T | None:
        """Look a label set up as it is written, in any order of names seen before.

        Returns:
            The value, or ``None``: then ``find`` may still find it under another spelling.

        Raises:
            TypeError: ``labels`` is no mapping.
        """
        if labels is None:
            return self._bare.children.get(())
        width, key, children, _ = self._usual
        try:
            # Only plain dicts: asking some others for a name they have not got makes it.
            if type(labels) is dict and len(labels) == width:
                found: T = children[key(labels)]
                return found
        except (KeyError, TypeError):
            pass
        return self._find_elsewhere(labels)

    def _find_elsewhere(self, labels: Labels) -> T | None:
        if not isinstance(labels, Mapping):
            raise TypeError(f"labels must be a dict of names and values, not {labels!r}")
        group = self._layouts.get(tuple(labels))
        if group is None:
            return None
        try:
            found: T = group.children[group.key(labels)]
        except (KeyError, TypeError):
            return None
        self._usual = group
        return found

    def _find_canonical(self, labels: Labels) -> T | None:
        children, key = self._place(labels)
        return children.get(key)

    def add(
        self, labels: Labels | None, make: Callable[[tuple[str, ...], tuple[str, ...]], T]
    ) -> T:
        """Store a new value unless there is one already; of many threads, one wins and all get its value.

        Args:
            labels: Names and values; ``None`` stands for none.
            make: Given the names and the values that make the key, returns the value to store. Called
                only if there is none. Both tuples are the store's own, so that keeping them costs nothing.

        Returns:
            What is stored for these labels from now on.
        """
        given = {} if labels is None else labels
        pairs = canonical_pairs(given, self._const_labels)
        group = self._group_for(pairs)
        if given and len(given) == group.width:
            self._layouts[tuple(given)] = group
            self._usual = group
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
            children, key = self._place(labels)
            if key not in children:
                raise KeyError(labels)
        return value  # type: ignore[return-value]  # a type of values may have None in it

    def __setitem__(self, labels: Labels | None, value: T) -> None:
        pairs = canonical_pairs(labels or {}, self._const_labels)
        group = self._group_for(pairs)
        group.children[group.key(dict(pairs))] = value

    def __delitem__(self, labels: Labels | None) -> None:
        children, key = self._place(labels)
        if children.pop(key, _MISSING) is _MISSING:
            raise KeyError(labels)

    def take(self, labels: Labels | None) -> T | None:
        """Forget an entry, and return its value; of many threads, one gets it."""
        children, key = self._place(labels)
        return children.pop(key, None)

    def discard(self, labels: Labels | None, value: T) -> bool:
        """Forget an entry if it has this very value; tell whether it had."""
        children, key = self._place(labels)
        if children.get(key) is not value:
            return False
        found = children.pop(key, None)
        if found is not value and found is not None:  # somebody has put it there just now
            children.setdefault(key, found)
        return found is value

    def _place(self, labels: Labels | None) -> tuple[dict[Any, T], Any]:
        pairs = pairs_to_find(labels, self._const_labels)
        if pairs is None:
            return {}, None
        group = self._groups.get(tuple([name for name, _ in pairs]))
        return ({}, None) if group is None else (group.children, group.key(dict(pairs)))

    def __iter__(self) -> Iterator[dict[str, str]]:
        return (labels for labels, _ in self.entries())

    def __len__(self) -> int:
        return sum([len(group.children) for group in list(self._groups.values())])

    def entries(self) -> list[tuple[dict[str, str], T]]:
        """All label sets with their values, as they stand at this moment."""
        groups = list(self._groups.values())
        return [
            (group.labels(key), value)
            for group in groups
            # A copy first: while older interpreters make pairs, they may collect garbage, and a finalizer may record.
            for key, value in group.children.copy().items()
        ]

    def snapshot(self) -> list[T]:
        """All values, in the order of iteration, as they stand at this moment."""
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
        """Forget all entries."""
        for group in list(self._groups.values()):
            group.children.clear()

    def drain(self) -> list[T]:
        """Forget all entries, and return their values."""
        found: list[T] = []
        for group in list(self._groups.values()):
            with suppress(KeyError):  # it is empty
                while True:
                    found.append(group.children.popitem()[1])
        return found

    def count_values(self) -> dict[str, int]:
        """Tell how many values each label name has."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for group in list(self._groups.values()):
            keys = list(group.children)
            columns = [keys] if group.width == 1 else zip(*keys)
            for name, column in zip(group.names, columns):
                found[name].update(column)
        return {name: len(values) for name, values in found.items()}


class FilledDict(MetricDict[S]):
    """A store that is handed its series whole, and sorts them by label set when first asked.

    A collection from elsewhere changes all series of a family at once, and hardly anybody looks
    one up: the order by label set is made for those who do. Of several that make it at once, the first one's counts.

    Args:
        series: All series, no two with the same labels.
    """

    def __init__(self, series: Sequence[S]) -> None:
        self._unsorted: Sequence[S] | None = None
        super().__init__()
        self._unsorted = series

    @property
    def _groups(self) -> dict[tuple[str, ...], _Group]:
        """The groups, which every other method goes through; made now if they were not."""
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
            self._bare = self._usual = bare
            self._sorted = groups
            self._unsorted = None

    def find_quickly(self, labels: Labels | None) -> S | None:
        """Look a label set up, as in ``MetricDict.find_quickly``."""
        return super().find_quickly(labels) if self._groups else None

    def __len__(self) -> int:
        unsorted = self._unsorted
        return super().__len__() if unsorted is None else len(unsorted)
