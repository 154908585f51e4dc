"""Messages are filled: what one has no room for goes into the next ones."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from otel_aioprom._core.model import MetricFamily
from otel_aioprom.remote_write.message import NO_SPOTS, Message, Spot, Spots, Writer

Turn = Generator[Message | None, None, None]
"""Yields full messages, and ``None`` where there is more to do."""


class Filler:
    """Fills the messages of one collection after the other.

    Args:
        writer: Writes them.
        max_samples: Samples and native histograms that each can hold.
    """

    def __init__(self, writer: Writer[Any], max_samples: int) -> None:
        self._writer = writer
        self._max_samples = max_samples

    def family(self, family: MetricFamily | None) -> None:
        """Say what the series that follow belong to."""
        self._writer.family(family)

    def floats(
        self,
        lines: Sequence[Any],
        values: Sequence[bytes],
        starts: Sequence[float | None] | None = None,
        spots: Spots = NO_SPOTS,
    ) -> Turn:
        """Add a sample to each of some series; see ``Writer.floats``."""
        first = 0
        while first < len(lines):
            last = first + self._max_samples - self._writer.size
            here = {place - first: some for place, some in spots.items() if first <= place < last}
            began = None if starts is None else starts[first:last]
            self._writer.floats(lines[first:last], values[first:last], began, here)
            first = last
            yield from self._full()

    def histogram(
        self, line: Any, content: bytes, start: float | None, spots: Sequence[Spot]
    ) -> Turn:
        """Add a native histogram; see ``Writer.histogram``."""
        self._writer.histogram(line, content, start, spots)
        yield from self._full()

    def _full(self) -> Turn:
        if self._writer.size < self._max_samples:
            yield None
        else:
            yield from self._hand_out()

    def _hand_out(self) -> Turn:
        yield from self._writer.settle()
        yield self._writer.take()

    def rest(self) -> Turn:
        """Hand out the last message, unless it is empty."""
        if self._writer.size:
            yield from self._hand_out()
        self._writer.finish()
