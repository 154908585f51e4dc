"""What both versions of the remote write message have in common.

A *line* is one series of the server: name and labels, in the form in which a writer needs them. It is made
once, when the series comes up, and it also tells the series apart from all others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from otel_aioprom._core.escaping import Escaping
from otel_aioprom._core.labels import encodable
from otel_aioprom._core.model import UNITLESS, MetricFamily
from otel_aioprom.remote_write.fields import moment_varint

_LAST_MOMENT = 1 << 42
_TYPES = {"counter": 1, "gauge": 2, "info": 2, "stateset": 2, "histogram": 3, "summary": 5}


class Message(NamedTuple):
    """A message, ready to be compressed and sent.

    Attributes:
        body: The protobuf message.
        samples: Float samples in it, stale markers among them.
        histograms: Native histograms in it.
        exemplars: Exemplars in it.
    """

    body: bytes
    samples: int
    histograms: int
    exemplars: int


class Spot(NamedTuple):
    """An exemplar as it is sent.

    Attributes:
        pairs: Its labels, sorted, under their final names.
        value: What was observed.
        moment: When, in milliseconds since the epoch.
    """

    pairs: Sequence[tuple[str, str]]
    value: float
    moment: int


L = TypeVar("L")
Spots = Mapping[int, Sequence[Spot]]
"""Exemplars by the place of the sample that they belong to."""

NO_SPOTS: Spots = MappingProxyType({})


class Writer(ABC, Generic[L]):
    """Puts a message together, series by series.

    Attributes:
        escaping: What becomes of names that are not classic.
        starts: Whether start times are written, so that it is worth while to look them up.
        cells_each: How many cells a label makes.
        is_patient: Exemplars of a native histogram wait until the series has been sent once. In version 1.0, a
            Prometheus looks for the series of an exemplar before it stores the histogram that makes it.
    """

    escaping: ClassVar[Escaping]
    starts: ClassVar[bool]
    cells_each: ClassVar[int]
    is_patient: ClassVar[bool]

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._stamp = b""
        self._moment = 0
        self._samples = self._histograms = self._exemplars = 0

    @property
    def size(self) -> int:
        """Samples and histograms that wait in the message."""
        return self._samples + self._histograms

    def begin(self, moment: int) -> None:
        """Start a collection; what waits from one that was given up is thrown away.

        Args:
            moment: Of all samples, in milliseconds since the epoch.

        Raises:
            ValueError: The moment does not lie between 1970 and 2109.
        """
        if not 0 <= moment < _LAST_MOMENT:
            raise ValueError(f"a moment lies between 1970 and 2109, not at {moment} ms")
        self._clear()
        self._moment = moment
        # What goes before a value tells how long the rest is, so that all moments take as many bytes as those
        # of this century. A clock that was never set needs fewer: it gets zeros, which readers pass over.
        self._stamp = b"\x10" + moment_varint(moment)

    def _clear(self) -> None:
        self._parts = []
        self._samples = self._histograms = self._exemplars = 0

    def take(self) -> Message:
        """Return the message, and begin the next one."""
        body = b"".join(self._body())
        message = Message(body, self._samples, self._histograms, self._exemplars)
        self._clear()
        self._next()
        return message

    def settle(self) -> Iterable[None]:
        """Write what has to stand at the end of the message, a step at a time; before ``take``."""
        return ()

    def finish(self) -> None:
        """Forget what the next collection has no use for."""

    def _next(self) -> None:
        """Get ready for the next message of the same collection."""

    def _body(self) -> Iterable[bytes]:
        return self._parts

    @abstractmethod
    def cells(self, names: Sequence[str], values: Sequence[str]) -> list[Any]:
        """Write labels as cells, of which lines are made: the first cell of each label, then the second of each."""

    @abstractmethod
    def line(self, cells: tuple[Any, ...]) -> L:
        """Put a line together of the cells of its labels, which are sorted by name."""

    @abstractmethod
    def family(self, family: MetricFamily | None) -> None:
        """Say what the series that follow belong to."""

    @abstractmethod
    def floats(
        self,
        lines: Sequence[L],
        values: Sequence[bytes],
        starts: Sequence[float | None] | None,
        spots: Spots,
    ) -> None:
        """Add a sample to each of some series.

        Args:
            lines: The series.
            values: Eight bytes for each.
            starts: When their counting began, in seconds since the epoch, if any of them counts.
            spots: Exemplars of some of them.
        """

    @abstractmethod
    def histogram(
        self, line: L, content: bytes, start: float | None, spots: Sequence[Spot]
    ) -> None:
        """Add a native histogram.

        Args:
            line: The series.
            content: As ``native_content`` writes it.
            start: When counting began, in seconds since the epoch, if that is known.
            spots: Its exemplars, in the order of time.
        """


def type_number(family: MetricFamily) -> int:
    """Return the number of a family's type, in metadata of both versions.

    Spec:
        E96, E99: an info metric and a set of states are gauges.
    """
    return _TYPES.get(family.type, 0)


def unit_of(family: MetricFamily) -> str:
    """Return the unit of a family, empty where its type has none."""
    return "" if family.type in UNITLESS else encodable(family.unit)
