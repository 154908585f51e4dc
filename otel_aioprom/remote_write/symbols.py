"""Symbols table of a remote write 2.0 message, and the cache of a message for the next collection.

The reference of a symbol depends on all symbols before it in the message. As long as the batches of a message are
the same as in the last collection, so are the references; from the first batch that differs, they are assigned anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from otel_aioprom.formats.protobuf_wire import varint
from otel_aioprom.remote_write.fields import SMALL

_SMALL = len(SMALL)


class Symbols(dict[str, bytes]):
    r"""Symbols table: strings with their encoded references.

    Attributes:
        fields: The table as fields of the message.

    Spec:
        E97.

    Examples:
        >>> symbols = Symbols()
        >>> symbols["a"], symbols["b"], symbols["a"], symbols[""]
        (b'\x01', b'\x02', b'\x01', b'\x00')
    """

    def __init__(self) -> None:
        super().__init__()
        self.fields: list[bytes] = []
        self[""]  # the specification wants it to be the first

    def __missing__(self, text: str) -> bytes:
        content = text.encode()
        length = len(content)
        self.fields.append(
            b"\x22" + (SMALL[length] if length < _SMALL else varint(length)) + content
        )
        self[text] = reference = varint(len(self))
        return reference

    def truncate(self, count: int) -> None:
        """Remove all but the first symbols."""
        while len(self) > count:
            self.popitem()
        del self.fields[count:]


class CachedBatch(NamedTuple):
    """Time series that were written at once.

    Attributes:
        key: All that their bytes depend on, besides values and timestamp.
        heads: The bytes before each value.
        tails: The bytes after each timestamp.
        symbols: Size of the symbols table after them.
    """

    key: tuple[Any, ...]
    heads: Sequence[bytes]
    tails: Sequence[bytes]
    symbols: int


class MessageCache:
    """Cache of a message: its symbols table and its batches.

    Attributes:
        symbols: The symbols table.
    """

    def __init__(self) -> None:
        self.symbols = Symbols()
        self._batches: list[CachedBatch] = []
        self._next = 0

    def reuse(self, key: tuple[Any, ...]) -> CachedBatch | None:
        """Return the next batch if it was the same in the last collection; else discard it and all after it."""
        if self._next < len(self._batches):
            batch = self._batches[self._next]
            if batch.key == key:
                self._next += 1
                return batch
        self.trim()
        return None

    def add(
        self, key: tuple[Any, ...], heads: Sequence[bytes], tails: Sequence[bytes], reusable: bool
    ) -> CachedBatch:
        """Append the next batch.

        Args:
            key: See ``CachedBatch``.
            heads: See ``CachedBatch``.
            tails: See ``CachedBatch``.
            reusable: Whether it can be used in the next collection.

        Returns:
            The batch.
        """
        batch = CachedBatch(key if reusable else (), heads, tails, len(self.symbols))
        self._batches.append(batch)
        self._next += 1
        return batch

    def trim(self) -> None:
        """Discard the batches that were not reused, and the symbols that only they need."""
        del self._batches[self._next :]
        self.symbols.truncate(self._batches[-1].symbols if self._batches else 1)

    def rewind(self) -> None:
        """Go back to the first batch, for the next collection."""
        self._next = 0
