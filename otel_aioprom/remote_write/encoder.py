"""From families to messages of remote write, a collection at a time. No I/O."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, get_args

from otel_aioprom._core.model import MetricFamily, Series
from otel_aioprom.formats.name_escaping import respell
from otel_aioprom.registry.faults import Fault
from otel_aioprom.remote_write.active_series import Ledger
from otel_aioprom.remote_write.family_cache import Known, lines_of
from otel_aioprom.remote_write.family_encoder import STEP, FamilyEncoder
from otel_aioprom.remote_write.fields import STALE
from otel_aioprom.remote_write.message import Message, Writer
from otel_aioprom.remote_write.packing import Filler, Turn
from otel_aioprom.remote_write.series_labels import LineMaker
from otel_aioprom.remote_write.version1 import Writer1
from otel_aioprom.remote_write.version2 import Writer2

Version = Literal["1.0", "2.0"]
"""Versions of the remote write protocol."""

MAX_SAMPLES = 2000
"""Samples in a message, as many as Prometheus itself sends at once."""

_WRITERS: dict[Version, type[Writer[Any]]] = {"1.0": Writer1, "2.0": Writer2}
_NONE: Mapping[str, str] = MappingProxyType({})


class SeriesTable:
    """Turns collections into messages, and knows which series were sent, so that those that end can be marked.

    A table belongs to one destination, and one collection at a time is made into messages. A collection that
    is given up half-way costs what its unfinished message held; the next one does the rest.

    Args:
        version: Of the protocol. Names that are not classic are escaped for 1.0; 2.0 takes them as they are.
        external_labels: Labels that each series gets if it has none of that name, such as ``job`` and ``instance``.
        max_samples: Samples and native histograms in a message, at most.
        native_histograms: Send native histograms. If not, only the classic buckets of a series are sent.

    Attributes:
        faults: What could not be sent in the last collection.

    Raises:
        ValueError: There is no such version, ``max_samples`` is below 1, or an external label has no name or
            the metric's.

    Spec:
        E96 to E99, E104 to E106.

    Examples:
        >>> from otel_aioprom.collectors import Gauge
        >>> queue = Gauge("queue_jobs", "Jobs that wait.")
        >>> queue.set({}, 3)
        >>> table = SeriesTable("2.0", {"job": "mailer"})
        >>> [each.samples for each in table.messages([queue.family()], 1700000000000) if each]
        [1]
    """

    def __init__(
        self,
        version: Version,
        external_labels: Mapping[str, str] = _NONE,
        *,
        max_samples: int = MAX_SAMPLES,
        native_histograms: bool = True,
    ) -> None:
        if version not in _WRITERS:
            raise ValueError(f"version must be one of {get_args(Version)}, not {version!r}")
        if max_samples < 1:
            raise ValueError(f"max_samples must be 1 or more, not {max_samples}")
        self.faults: list[Fault] = []
        self._leaving: list[Any] = []
        self._writer = _WRITERS[version]()
        self._ledger: Ledger[Any] = Ledger()
        self._known: dict[str, Known] = {}
        self._filler = Filler(self._writer, max_samples)
        maker = LineMaker(self._writer, external_labels)
        self._encoder = FamilyEncoder(
            self._writer, maker, self._ledger, self._filler, native_histograms
        )

    def messages(self, families: Sequence[MetricFamily], moment: int) -> Iterator[Message | None]:
        """Turn a collection into messages.

        Series of the last collection that are not in this one get a stale marker.

        Args:
            families: As a registry gathers them. Values are read as their message is made.
            moment: Of all samples, in milliseconds since the epoch, later than that of the last collection.

        Yields:
            Messages, all but the last one full; ``None`` where there is more to do, after a fraction of a
            millisecond.
        """
        self._begin(moment)
        ready, faults = respell(families, self._writer.escaping)
        self.faults += faults
        keyed = _keyed(ready)
        for key, known in list(self._known.items()):
            if key not in keyed or keyed[key].type != known.type:
                yield from self._forget(key)
        for key, family in keyed.items():
            yield from self._family(key, family)
        yield from self._finish()

    def end(self, moment: int) -> Iterator[Message | None]:
        """End all series: the table is empty afterwards.

        Args:
            moment: In milliseconds since the epoch, later than that of the last collection.

        Yields:
            As ``messages`` does.
        """
        self._begin(moment)
        for key in list(self._known):
            self._leaving += self._known.pop(key).entries
            yield None
        yield from self._finish()

    def _begin(self, moment: int) -> None:
        self._writer.begin(moment)
        self.faults = self._encoder.begin(moment)

    def _forget(self, key: str) -> Turn:
        self._leaving += self._known.pop(key).entries
        while self._leaving:
            self._let_go()
            yield None

    def _let_go(self) -> None:
        """Release the lines of some series that have ended."""
        for entry in self._leaving[-STEP:]:
            self._ledger.release(lines_of(entry))
        del self._leaving[-STEP:]

    def _finish(self) -> Turn:
        """Mark what has ended, and hand out what waits."""
        self._filler.family(None)
        while self._leaving or self._ledger.has_ended:
            self._let_go()
            lines = self._ledger.ended(STEP)
            yield from self._filler.floats(lines, [STALE] * len(lines))
        yield from self._filler.rest()

    def _family(self, key: str, family: MetricFamily) -> Turn:
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = Known(family.type)
        every = yield from _listed(family.series)
        same = yield from known.is_same(every)
        if not same:
            self._leaving += yield from known.arrange(every)
            while self._leaving:
                self._let_go()
                yield None
        yield from self._encoder.encode(known, family, every)


def _keyed(families: Iterable[MetricFamily]) -> dict[str, MetricFamily]:
    """Return families by name; a name that comes twice is marked, so that each has a key."""
    keyed: dict[str, MetricFamily] = {}
    for family in families:
        if family.series:
            key = family.name
            while key in keyed:
                key += "\0"
            keyed[key] = family
    return keyed


def _listed(every: Sequence[Series]) -> Generator[None, None, Sequence[Series]]:
    """Return series as a list; those that are made when they are asked for are made once, a step at a time."""
    if isinstance(every, (list, tuple)):
        return every
    found: list[Series] = []
    for start in range(0, len(every), STEP):
        found += every[start : start + STEP]
        yield
    return found
