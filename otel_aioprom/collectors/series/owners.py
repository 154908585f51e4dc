"""Who owns a series: one that a collector exposes is neither copied nor pickled, for the copy would count in vain."""

from __future__ import annotations

from typing import Any, Protocol, SupportsIndex
from weakref import WeakValueDictionary

from otel_aioprom._core.model import Series


class Owner(Protocol):
    """What keeps series for a collector.

    Attributes:
        name: Name of the collector.
    """

    name: str

    def owns(self, series: Any) -> bool:
        """Return whether a series is one of those that are exposed."""


_owners: WeakValueDictionary[int, Any] = WeakValueDictionary()


def register_owner(owner: Owner) -> None:
    """Ask an owner from now on, as long as it lives."""
    _owners[id(owner)] = owner


def refuse_copy(what: str) -> TypeError:
    """Return the error of a collector, or of what belongs to one, that is to be copied or pickled.

    Args:
        what: What it is, with its name.
    """
    return TypeError(
        f"{what} cannot be copied or pickled, as what a copy records would be exposed nowhere: "
        "use it where it was created, and create one in each process"
    )


def refuse_if_owned(series: Series) -> None:
    """Raise if a collector exposes a series.

    Raises:
        TypeError: It does; the message names the collector.
    """
    for reference in _owners.valuerefs():
        owner = reference()
        if owner is not None and owner.owns(series):
            raise refuse_copy(f"a bound child of {owner.name}{series.text.rstrip()}")


class BoundSeries(Series):
    """Base of series that collectors create, the bound children."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> str | tuple[Any, ...]:
        refuse_if_owned(self)
        return super().__reduce_ex__(protocol)
