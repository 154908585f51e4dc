"""The data model between recording and encoding: families of series.

Native collectors and OpenTelemetry streams become families; formats know nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")

UNITLESS = ("info", "stateset")
"""Types that have no unit."""


class Exemplar(NamedTuple):
    """One observation, kept as an example of those that a sample counts.

    Attributes:
        labels: Where the observation comes from, such as a trace id: pairs of name and value, each name once,
            together at most 128 code points.
        value: The observed value; that of a bucket lies inside the bucket.
        timestamp: Seconds since the epoch; ``None`` if unknown.

    Spec:
        E37, E38, M61 to M63.
    """

    labels: tuple[tuple[str, str], ...]
    value: float
    timestamp: float | None = None


class Series:
    """One label set of a family and, in the subclasses, its current value.

    A series is read live while a response is encoded; values that belong together (a histogram's buckets and sum) are
    read at once.

    Attributes:
        names: Label names as exposed, sorted, without ``le`` and ``quantile``; series of a family with the same names
            share one tuple.
        values: Their values, in the same order.
        text: Both in text format, written once; see ``labels_text``.
        wire: Both in protobuf format, kept from the first response on.
        created: Start time in seconds since the epoch; ``None`` if unknown, and for series that do not count.
    """

    __slots__ = ()
    names: tuple[str, ...]
    values: tuple[str, ...]
    text: str
    wire: bytes | None = None
    created: float | None = None

    @property
    def exemplar(self) -> Exemplar | None:
        """Latest exemplar of a counter, if any."""
        return None

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Pairs of label name and value."""
        return tuple(zip(self.names, self.values))

    def renamed(self, names: tuple[str, ...], values: tuple[str, ...], text: str) -> Self:
        """Return a copy of this series with other labels.

        Args:
            names: Label names, sorted.
            values: Their values.
            text: Both in text format.
        """
        other: Any = self._copied()
        other.names, other.values, other.text, other.wire = names, values, text, None
        return cast("Self", other)

    def _copied(self) -> Any:
        return shallow_copy(self)


def shallow_copy(value: T) -> T:
    """Return an object with the same attributes, whatever its class does when users copy or pickle it."""
    cls: Any = type(value)
    other: T = cls.__new__(cls)
    for name in _slots_of(cls):
        if hasattr(value, name):
            object.__setattr__(other, name, getattr(value, name))
    if hasattr(value, "__dict__"):
        vars(other).update(vars(value))
    return other


@cache
def _slots_of(cls: type) -> tuple[str, ...]:
    members = [item for base in cls.__mro__ for item in vars(base).items()]
    return tuple([name for name, member in members if isinstance(member, MemberDescriptorType)])


@dataclass(frozen=True, slots=True)
class MetricFamily:
    """Name, type, help, unit, and all series of a metric.

    Attributes:
        name: Name of the samples in the text format, without ``_bucket``, ``_sum`` and ``_count``, but with a counter's
            ``_total`` and an info's ``_info``.
        type: ``counter``, ``gauge``, ``histogram``, ``gaugehistogram``, ``summary``, ``untyped``, ``info`` or
            ``stateset``. A gauge histogram tells how current things are distributed; its counts may fall.
        doc: The help text, not escaped; may be empty.
        unit: The unit as in the name (``seconds``), or empty.
        series: Series of the class of the type, no two with the same labels, in the order in which they are exposed.
        utf8: Its name or a label name is no legacy name, so that formats must quote or escape it.
    """

    name: str
    type: str
    doc: str
    unit: str
    series: Sequence[Series]
    utf8: bool = False

    def sample_names(self) -> tuple[str, ...]:
        """Return the names of this family's samples.

        Spec:
            E22, E23, E24, E30.
        """
        if self.type == "gaugehistogram":
            return (f"{self.name}_bucket", f"{self.name}_gcount", f"{self.name}_gsum")
        if self.type == "histogram":
            return (f"{self.name}_bucket", f"{self.name}_sum", f"{self.name}_count")
        if self.type == "summary":
            return (self.name, f"{self.name}_sum", f"{self.name}_count")
        return (self.name,)

    def taken_names(self) -> tuple[str, ...]:
        """Return the names that no other family may use: its own, then those of its samples."""
        return tuple(dict.fromkeys((self.name, *self.sample_names())))
