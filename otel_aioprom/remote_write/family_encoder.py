"""Encode one family of a collection: read its values, and encode the labels of new series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from otel_aioprom._core.model import Exemplar, MetricFamily, Series
from otel_aioprom.registry.faults import Fault
from otel_aioprom.remote_write.active_series import ActiveSeries
from otel_aioprom.remote_write.family_cache import CachedSeries, FamilyCache, label_sets_of
from otel_aioprom.remote_write.fields import doubles, native_content
from otel_aioprom.remote_write.message import Exemplars, MessagePacker, Steps, Writer
from otel_aioprom.remote_write.samples import NO_SUFFIX, SAMPLE_LAYOUTS, Reading, SampleLayout
from otel_aioprom.remote_write.series_labels import EncodedSuffixes, SeriesLabelsEncoder

BATCH = 128
"""Series with a single sample that are encoded at once; each takes some microseconds the first time."""

_COMPOSITE_BATCH = 4  # histograms or summaries, with many samples each


class FamilyEncoder:
    """Encode the families of one collection after the other.

    Args:
        writer: Knows the fields of the protocol version.
        labels: Encodes labels.
        active: The active time series.
        packer: Receives the samples.
        native: Whether to send native histograms; also an attribute, for the next collection.
    """

    def __init__(
        self,
        writer: Writer[Any],
        labels: SeriesLabelsEncoder[Any],
        active: ActiveSeries[Any],
        packer: MessagePacker,
        native: bool,
    ) -> None:
        self._writer = writer
        self._labels = labels
        self._active = active
        self._packer = packer
        self.native = native
        self._timestamp = 0
        self._rejected = 0
        self._faults: list[Fault] = []
        self._suffixes: dict[tuple[Any, ...], EncodedSuffixes] = {}

    def begin(self, timestamp: int) -> list[Fault]:
        """Start a collection.

        Args:
            timestamp: In milliseconds since the epoch.

        Returns:
            A list to which faults of the collection are appended.
        """
        self._timestamp = timestamp
        self._faults = []
        return self._faults

    def encode(self, cache: FamilyCache, family: MetricFamily, series: Sequence[Series]) -> Steps:
        """Encode a family.

        Args:
            cache: Its cache, with entries in the order of the series.
            family: The family.
            series: Its series.
        """
        self._packer.family(family)
        self._suffixes = {}
        rejected = self._rejected
        layout = SAMPLE_LAYOUTS.get(family.type)
        if layout is None:
            yield from self._numbers(cache, family, series)
        else:
            yield from self._composite(cache, family.name, series, layout)
        cache.complete = self._rejected == rejected

    def _numbers(self, cache: FamilyCache, family: MetricFamily, series: Sequence[Any]) -> Steps:
        counts = family.type == "counter"
        for start in range(0, len(series), BATCH):
            some, label_sets = series[start : start + BATCH], cache.entries[start : start + BATCH]
            if not cache.complete:
                some, label_sets = self._add_new(cache, family.name, some, start)
            values = doubles([one.value for one in some])
            if not counts:
                yield from self._packer.floats(label_sets, values)
                continue
            starts = [one.created for one in some] if self._writer.starts else None
            found = [one.exemplar for one in some]
            exemplars = self._new_exemplars(label_sets, found) if any(found) else {}
            yield from self._packer.floats(label_sets, values, starts, exemplars)

    def _add_new(
        self, cache: FamilyCache, name: str, some: Sequence[Any], start: int
    ) -> tuple[list[Any], list[Any]]:
        """Encode the labels of new series; return series and label sets of all that can be sent."""
        make, add = self._labels.encode_one, self._active.add_one
        bare = self._labels.encode_suffixes(name, NO_SUFFIX)
        for index, one in enumerate(some, start):
            if cache.entries[index] is None:
                label_set = make(one, bare)
                if add(label_set):
                    cache.entries[index] = label_set
                else:
                    self._reject(name)
        entries = cache.entries[start : start + len(some)]
        kept = [index for index, entry in enumerate(entries) if entry is not None]
        return [some[index] for index in kept], [entries[index] for index in kept]

    def _reject(self, name: str) -> None:
        self._rejected += 1
        message = "a series is dropped: on the wire, another one has the same name and labels"
        fault = Fault("duplicate_series", name, message)
        if fault not in self._faults[-1:]:
            self._faults.append(fault)

    def _composite(
        self, cache: FamilyCache, name: str, series: Sequence[Any], layout: SampleLayout
    ) -> Steps:
        for start in range(0, len(series), _COMPOSITE_BATCH):
            label_sets: list[Any] = []
            values: list[float] = []
            starts: list[float | None] = []
            exemplars: dict[int, Exemplars] = {}
            natives = []
            for index, one in enumerate(series[start : start + _COMPOSITE_BATCH], start):
                # Before the counts, which may be reset meanwhile.
                created = None if layout.gauge else one.created
                reading = layout.read(one, self.native)
                before = cache.entries[index]
                own = self._label_sets_for(cache, index, name, one, reading, layout)
                if own is None:
                    continue
                if reading.native is not None:
                    one.mark_exposed(reading.native[0], created)
                    is_new = cache.entries[index] is not before
                    content = native_content(*reading.native, gauge=layout.gauge)
                    buckets = reading.native[-1]
                    natives.append((own[-1], is_new, created, content, buckets.exemplars))
                if reading.exemplars:
                    exemplars.update(self._new_exemplars(own, reading.exemplars, len(label_sets)))
                label_sets += own[: len(reading.values)]
                values += reading.values
                starts += [created] * len(reading.values)
            yield from self._packer.floats(label_sets, doubles(values), starts, exemplars)
            for native in natives:
                yield from self._histogram(*native)

    def _label_sets_for(
        self,
        cache: FamilyCache,
        index: int,
        name: str,
        one: Any,
        reading: Reading,
        layout: SampleLayout,
    ) -> list[Any] | None:
        """Return the label sets of a histogram or a summary, encoded anew if it has other samples than before."""
        entry = cache.entries[index]
        layout_key = reading.layout_key
        if entry is not None and entry.layout_key == layout_key:
            return entry.label_sets  # type: ignore[no-any-return]
        cache.entries[index] = None
        self._active.mark_ended(label_sets_of(entry))
        if layout_key not in self._suffixes:
            suffixes = layout.suffixes(layout_key)
            self._suffixes[layout_key] = self._labels.encode_suffixes(name, suffixes)
        label_sets = self._labels.encode(one, self._suffixes[layout_key])
        if not self._active.add(label_sets):
            self._reject(name)
            return None
        cache.entries[index] = CachedSeries(layout_key, label_sets)
        return label_sets

    def _new_exemplars(
        self, label_sets: Sequence[Any], exemplars: Sequence[Exemplar | None], first: int = 0
    ) -> dict[int, Exemplars]:
        """Return the exemplars that were not sent yet, by the index of their label set."""
        found = {
            index: self._active.new_exemplars(label_set, (exemplar,), self._writer, self._timestamp)
            for index, (label_set, exemplar) in enumerate(zip(label_sets, exemplars), first)
            if exemplar is not None
        }
        return {index: new for index, new in found.items() if new}

    def _histogram(
        self,
        label_set: Any,
        is_new: bool,
        start: float | None,
        content: bytes,
        found: Sequence[Exemplar],
    ) -> Steps:
        exemplars: Exemplars = ()
        if not (is_new and self._writer.defers_exemplars):
            # One without a timestamp would get that of each collection, and be sent again and again.
            timed = [each for each in found if each.timestamp is not None]
            exemplars = self._active.new_exemplars(label_set, timed, self._writer, self._timestamp)
        yield from self._packer.histogram(label_set, content, start, exemplars)
