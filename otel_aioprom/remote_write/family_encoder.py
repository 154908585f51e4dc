"""One family of a collection becomes samples: values are read, and lines are made for series that are new."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from otel_aioprom._core.model import Exemplar, MetricFamily, Series
from otel_aioprom._core.native_histogram import NativeBuckets
from otel_aioprom.registry.faults import Fault
from otel_aioprom.remote_write.active_series import Ledger
from otel_aioprom.remote_write.family_cache import Entry, Known, lines_of
from otel_aioprom.remote_write.fields import doubles, native_content
from otel_aioprom.remote_write.message import Spot, Writer
from otel_aioprom.remote_write.packing import Filler, Turn
from otel_aioprom.remote_write.samples import BARE, SHAPES, Reading, Shape
from otel_aioprom.remote_write.series_labels import LineMaker, Prepared

STEP = 128
"""Series of one sample that are written at once; each takes some microseconds the first time."""

_FEW = 4  # series that have many samples each


class FamilyEncoder:
    """Writes the families of one collection after the other.

    Args:
        writer: Tells what the version of the protocol has fields for.
        maker: Makes lines.
        ledger: Knows whose they are.
        filler: Takes the samples.
        native: Send native histograms.
    """

    def __init__(
        self,
        writer: Writer[Any],
        maker: LineMaker[Any],
        ledger: Ledger[Any],
        filler: Filler,
        native: bool,
    ) -> None:
        self._writer = writer
        self._maker = maker
        self._ledger = ledger
        self._filler = filler
        self._native = native
        self._moment = 0
        self._refused = 0
        self._faults: list[Fault] = []
        self._prepared: dict[tuple[Any, ...], Prepared] = {}

    def begin(self, moment: int) -> list[Fault]:
        """Start a collection.

        Args:
            moment: In milliseconds since the epoch.

        Returns:
            A list that gets what cannot be sent.
        """
        self._moment = moment
        self._faults = []
        return self._faults

    def encode(self, known: Known, family: MetricFamily, every: Sequence[Series]) -> Turn:
        """Write a family.

        Args:
            known: What was sent of it before, its entries in the order of the series.
            family: Its head.
            every: Its series.
        """
        self._filler.family(family)
        self._prepared = {}
        refused = self._refused
        shape = SHAPES.get(family.type)
        if shape is None:
            yield from self._numbers(known, family, every)
        else:
            yield from self._shaped(known, family.name, every, shape)
        known.whole = self._refused == refused

    def _numbers(self, known: Known, family: MetricFamily, every: Sequence[Any]) -> Turn:
        counts = family.type == "counter"
        for start in range(0, len(every), STEP):
            some, lines = every[start : start + STEP], known.entries[start : start + STEP]
            if not known.whole:
                some, lines = self._claim_some(known, family.name, some, start)
            values = doubles([one.value for one in some])
            if not counts:
                yield from self._filler.floats(lines, values)
                continue
            starts = [one.created for one in some] if self._writer.starts else None
            found = [one.exemplar for one in some]
            spots = self._spots(lines, found) if any(found) else {}
            yield from self._filler.floats(lines, values, starts, spots)

    def _claim_some(
        self, known: Known, name: str, some: Sequence[Any], start: int
    ) -> tuple[list[Any], list[Any]]:
        """Make the lines of new series; return series and lines of all that can be sent."""
        make, claim = self._maker.make_one, self._ledger.claim_one
        bare = self._maker.prepare(name, BARE)
        for place, one in enumerate(some, start):
            if known.entries[place] is None:
                line = make(one, bare)
                if claim(line):
                    known.entries[place] = line
                else:
                    self._refuse(name)
        entries = known.entries[start : start + len(some)]
        kept = [place for place, entry in enumerate(entries) if entry is not None]
        return [some[place] for place in kept], [entries[place] for place in kept]

    def _refuse(self, name: str) -> None:
        self._refused += 1
        message = "a series is left out: on the wire, another one has the same name and labels"
        fault = Fault("duplicate_series", name, message)
        if fault not in self._faults[-1:]:
            self._faults.append(fault)

    def _shaped(self, known: Known, name: str, every: Sequence[Any], shape: Shape) -> Turn:
        for start in range(0, len(every), _FEW):
            lines: list[Any] = []
            values: list[float] = []
            starts: list[float | None] = []
            spots: dict[int, Sequence[Spot]] = {}
            natives = []
            for place, one in enumerate(every[start : start + _FEW], start):
                created = one.created  # before the counts, which may start over meanwhile
                reading = shape.read(one, self._native)
                before = known.entries[place]
                own = self._lines_for(known, place, name, one, reading, shape)
                if own is None:
                    continue
                if reading.native is not None:
                    one.showed(reading.native[0], created)
                    is_new = known.entries[place] is not before
                    natives.append((own[-1], is_new, created, *reading.native))
                if reading.exemplars:
                    spots.update(self._spots(own, reading.exemplars, len(lines)))
                lines += own[: len(reading.values)]
                values += reading.values
                starts += [created] * len(reading.values)
            yield from self._filler.floats(lines, doubles(values), starts, spots)
            for native in natives:
                yield from self._histogram(*native)

    def _lines_for(
        self, known: Known, place: int, name: str, one: Any, reading: Reading, shape: Shape
    ) -> list[Any] | None:
        """Return the lines of a histogram or a summary, made anew if it has other samples than before."""
        entry = known.entries[place]
        mark = reading.mark
        if entry is not None and entry.mark == mark:
            known_lines: list[Any] = entry.lines
            return known_lines
        known.entries[place] = None
        self._ledger.release(lines_of(entry))
        if mark not in self._prepared:
            self._prepared[mark] = self._maker.prepare(name, shape.parts(mark))
        lines = self._maker.make(one, self._prepared[mark])
        if not self._ledger.claim(lines):
            self._refuse(name)
            return None
        known.entries[place] = Entry(mark, lines)
        return lines

    def _spots(
        self, lines: Sequence[Any], exemplars: Sequence[Exemplar | None], first: int = 0
    ) -> dict[int, Sequence[Spot]]:
        """Return the exemplars that are to be sent, by the place of their line."""
        found = {
            place: self._ledger.spots(line, (exemplar,), self._writer, self._moment)
            for place, (line, exemplar) in enumerate(zip(lines, exemplars), first)
            if exemplar is not None
        }
        return {place: spots for place, spots in found.items() if spots}

    def _histogram(
        self,
        line: Any,
        is_new: bool,
        start: float | None,
        count: int,
        total: float | None,
        native: NativeBuckets,
    ) -> Turn:
        spots: Sequence[Spot] = ()
        if not (is_new and self._writer.is_patient):
            # One without a timestamp would get that of each collection, and be new for ever.
            timed = [each for each in native.exemplars if each.timestamp is not None]
            spots = self._ledger.spots(line, timed, self._writer, self._moment)
        content = native_content(count, total, native)
        yield from self._filler.histogram(line, content, start, spots)
