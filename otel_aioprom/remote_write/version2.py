"""Messages of remote write 2.0: ``io.prometheus.write.v2.Request``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain

from otel_aioprom._core.labels import encodable
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.formats.protobuf_wire import double, field, varint
from otel_aioprom.remote_write.fields import SMALL, milliseconds, moment_varint
from otel_aioprom.remote_write.message import Spot, Spots, Writer, type_number, unit_of
from otel_aioprom.remote_write.symbols import Draft, Step

_TIME_SERIES = b"\x2a"
_SETTLED = 64
_SMALL = len(SMALL)
_RECENT = 1e8  # seconds: in milliseconds, later ones take six bytes
_NOTHING = (b"", b"", b"", b"")
_NO_FAMILY = (0, "", "")

Line = tuple[str, ...]


class Writer2(Writer[Line]):
    """Puts messages of version 2.0 together.

    A line is a row of texts: name and value of each label. Which numbers stand for them depends on the
    message, so that a draft of each message is kept until the next collection.

    Series with exemplars go to the end of a message: the texts of exemplars are new each time, and must not
    change the numbers of others.

    Spec:
        E97, E98.
    """

    escaping = "allow-utf-8"
    starts = True
    cells_each = 2
    is_patient = False

    def __init__(self) -> None:
        super().__init__()
        self._drafts: list[Draft] = []
        self._draft = Draft()
        self._place = 0
        self._told: tuple[int, str, str] = _NO_FAMILY
        self._waiting: list[Callable[[], bytes]] = []

    def begin(self, moment: int) -> None:
        """Start a collection; see ``Writer.begin``."""
        super().begin(moment)
        self._place = 0
        for draft in self._drafts:
            draft.rewind()
        self._open()

    def _open(self) -> None:
        """Take up the draft of the next message."""
        if self._place == len(self._drafts):
            self._drafts.append(Draft())
        self._draft = self._drafts[self._place]

    def _clear(self) -> None:
        super()._clear()
        self._waiting = []

    def settle(self) -> Iterator[None]:
        """Write the series with exemplars, some at a time."""
        self._draft.trim()
        waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), _SETTLED):
            self._parts += [write() for write in waiting[start : start + _SETTLED]]
            yield

    def _body(self) -> Iterable[bytes]:
        return chain(self._draft.symbols.fields, self._parts)

    def _next(self) -> None:
        self._draft.rewind()
        self._place += 1
        self._open()

    def finish(self) -> None:
        """Forget drafts of messages that are not sent any more."""
        del self._drafts[self._place :]

    def cells(self, names: Sequence[str], values: Sequence[str]) -> list[str]:
        """Return names, then values, as UTF-8 can carry them."""
        row = [*names, *values]
        return row if "".join(row).isascii() else list(map(encodable, row))

    def line(self, cells: Line) -> Line:
        """Return names and values in a row."""
        return cells

    def family(self, family: MetricFamily | None) -> None:
        """Write these metadata on the series that follow."""
        self._told = _NO_FAMILY
        if family is not None:
            self._told = (type_number(family), encodable(family.doc), unit_of(family))

    def _metadata(self) -> bytes:
        kind, doc, unit = self._told
        content = b"\x08" + varint(kind) if kind else b""
        content += b"\x18" + self._draft.symbols[doc] if doc else b""
        content += b"\x20" + self._draft.symbols[unit] if unit else b""
        return field(b"\x2a", content) if content else b""

    def floats(
        self,
        lines: Sequence[Line],
        values: Sequence[bytes],
        starts: Sequence[float | None] | None,
        spots: Spots,
    ) -> None:
        """Add samples; see ``Writer.floats``."""
        key = (self._told, lines, starts)
        step = self._draft.reuse(key) or self._write_step(key, lines, starts)
        count = len(lines)
        parts = [self._stamp] * (4 * count)
        parts[::4] = step.heads
        parts[1::4] = values
        parts[3::4] = step.tails
        for place, some in spots.items():
            start = None if starts is None else starts[place]
            parts[4 * place : 4 * place + 4] = _NOTHING
            self._exemplars += len(some)
            self._waiting.append(
                partial(self._marked, lines[place], values[place], start, self._told, some)
            )
        self._parts.append(b"".join(parts))
        self._samples += count

    def _write_step(
        self, key: tuple[object, ...], lines: Sequence[Line], starts: Sequence[float | None] | None
    ) -> Step:
        """Write what goes around values and timestamps, and keep it."""
        references = self._references(lines)
        metadata = self._metadata()
        tails, lasting = [metadata] * len(lines), True
        if starts is not None:
            began = self._starts(starts)
            tails = [start + metadata for start in began]
            # A start that is not before this collection may be before the next one.
            lasting = b"" not in began or not any(map(_is_held_back, starts, began))
            heads = list(map(self._head, references, map(len, began), map(len, tails)))
        else:
            heads = [self._head(each, 0, len(metadata)) for each in references]
        return self._draft.add(key, heads, tails, lasting)

    def _references(self, lines: Iterable[Line]) -> list[bytes]:
        reference = self._draft.symbols.__getitem__
        return [b"".join(map(reference, line)) for line in lines]

    def _head(self, references: bytes, start: int, tail: int) -> bytes:
        """Write what goes before a value.

        Args:
            references: Of all labels.
            start: Bytes of the start time.
            tail: Bytes that follow the timestamp, those of the start time among them.
        """
        sample = 9 + len(self._stamp)  # the tag of the value, the value and the timestamp
        width = len(references)
        labels = (SMALL[width] if width < _SMALL else varint(width)) + references
        length = 3 + len(labels) + sample + tail
        before = SMALL[length] if length < _SMALL else varint(length)
        return b"\x2a%b\x0a%b\x12%c\x09" % (before, labels, sample + start)

    def _starts(self, starts: Sequence[float | None]) -> list[bytes]:
        """Do as ``_start`` for many, the usual ones of which take no second look."""
        last = (self._moment - 1) / 1000
        return [
            b"\x18" + moment_varint(round(seconds * 1000))
            if seconds is not None and _RECENT < seconds < last
            else self._start(seconds)
            for seconds in starts
        ]

    def _start(self, seconds: float | None, tag: bytes = b"\x18") -> bytes:
        """Write when counting began, unless that is no time, or not before the sample's."""
        moment = milliseconds(seconds)
        return tag + varint(moment) if moment and moment < self._moment else b""

    def _marked(
        self,
        line: Line,
        value: bytes,
        start: float | None,
        told: tuple[int, str, str],
        spots: Sequence[Spot],
    ) -> bytes:
        """Write a sample with exemplars."""
        (references,) = self._references([line])
        self._told, before = told, self._told
        began = self._start(start)
        tail = began + b"".join(map(self._spot, spots)) + self._metadata()
        self._told = before
        return self._head(references, len(began), len(tail)) + value + self._stamp + tail

    def histogram(
        self, line: Line, content: bytes, start: float | None, spots: Sequence[Spot]
    ) -> None:
        """Add a native histogram; see ``Writer.histogram``."""
        key = (self._told, line)
        step = self._draft.reuse(key)
        if step is None:
            labels = field(b"\x0a", *self._references([line]))
            step = self._draft.add(key, [labels], [self._metadata()], True)
        times = b"\x78" + self._stamp[1:] + self._start(start, b"\x88\x01")
        message = step.heads[0] + field(b"\x1a", content + times)
        if spots:
            self._exemplars += len(spots)
            self._waiting.append(partial(self._series, message, spots, step.tails[0]))
        else:
            self._parts.append(field(_TIME_SERIES, message + step.tails[0]))
        self._histograms += 1

    def _series(self, message: bytes, spots: Sequence[Spot], metadata: bytes) -> bytes:
        return field(_TIME_SERIES, message + b"".join(map(self._spot, spots)) + metadata)

    def _spot(self, spot: Spot) -> bytes:
        """Write an exemplar."""
        texts = [encodable(text) for text in chain.from_iterable(spot.pairs)]
        labels = field(b"\x0a", *self._references([tuple(texts)])) if texts else b""
        content = labels + b"\x11" + double(spot.value) + b"\x18" + varint(spot.moment)
        return field(b"\x22", content)


def _is_held_back(seconds: float | None, start: bytes) -> bool:
    """Tell whether a start is known, but not written."""
    return seconds is not None and not start
