"""The one model between recording and encoding: families of series.

A native collector is a family that can be written to; an OpenTelemetry stream becomes one.
Formats know nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

if TYPE_CHECKING:
    from typing_extensions import Self


UNITLESS = ("info", "stateset")
"""Types that have no unit."""


class Exemplar(NamedTuple):
    """One observation, kept as an example of those that a sample counts.

    Attributes:
        labels: What leads to the observation, such as a trace id: pairs of name and value, each name once,
            together at most 128 code points.
        value: What was observed; in a bucket, it lies inside.
        timestamp: When, in seconds since the epoch; ``None`` if that is unknown.

    Spec:
        E37, E38, M61 to M63.
    """

    labels: tuple[tuple[str, str], ...]
    value: float
    timestamp: float | None = None


class Series:
    """One label set of a family and, in the subclasses, its current value.

    A series is read live while a response is encoded. What belongs together (a histogram's
    buckets and sum) is read at once.

    Attributes:
        names: Label names as exposed, sorted, ``le`` and ``quantile`` not among them; one tuple
            for all series of a family that have the same names.
        values: Their values, in the same order.
        text: Both as exposition text, written once: ``{a="1"}`` and a blank, or the blank alone. Names
            that are not classic stand in quotes.
        wire: What the protobuf format repeats in each response, kept from the first one on.
        created: When counting began, in seconds since the epoch; ``None`` if that is unknown, and for
            all that do not count.
    """

    __slots__ = ()
    names: tuple[str, ...]
    values: tuple[str, ...]
    text: str
    wire: bytes | None = None
    created: float | None = None

    @property
    def exemplar(self) -> Exemplar | None:
        """Of a counter, the latest one if there is any."""
        return None

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Label names with their values."""
        return tuple(zip(self.names, self.values))

    def renamed(self, names: tuple[str, ...], values: tuple[str, ...], text: str) -> Self:
        """Return this series as it stands now, under other labels.

        Args:
            names: Its label names, sorted.
            values: Their values.
            text: Both as exposition text.
        """
        other: Any = copy(self)
        other.names, other.values, other.text, other.wire = names, values, text, None
        return cast("Self", other)


@dataclass(frozen=True, slots=True)
class MetricFamily:
    """Name, type, help, unit, and all series under them.

    Attributes:
        name: The name that samples carry in the text format, without ``_bucket``, ``_sum`` and
            ``_count``: a counter's ``_total`` and an info's ``_info`` belong to it.
        type: ``counter``, ``gauge``, ``histogram``, ``summary``, ``untyped``, ``info`` or ``stateset``.
        doc: The description, not escaped; empty if there is none.
        unit: The unit's words as in the name (``seconds``), or empty.
        series: Series of the class that the type asks for, no two with the same labels, in the
            order in which they are exposed.
        utf8: Its name or the name of a label is not classic, so that formats must quote or escape.
    """

    name: str
    type: str
    doc: str
    unit: str
    series: Sequence[Series]
    utf8: bool = False

    def sample_names(self) -> tuple[str, ...]:
        """Names of the samples that this family produces.

        Spec:
            E22, E23, E24.
        """
        if self.type == "histogram":
            return (f"{self.name}_bucket", f"{self.name}_sum", f"{self.name}_count")
        if self.type == "summary":
            return (self.name, f"{self.name}_sum", f"{self.name}_count")
        return (self.name,)

    def taken_names(self) -> tuple[str, ...]:
        """Names that no other family may use: its own, then those of its samples."""
        return tuple(dict.fromkeys((self.name, *self.sample_names())))
