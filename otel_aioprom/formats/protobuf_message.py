"""The metrics of one protobuf message: encoded in batches, and kept until the length of all of them is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct

_SPLIT = Struct("8s" * 1024)


class MessageBuffer:
    """The metrics of one message.

    Attributes:
        length: Bytes of all metrics that were added.
    """

    def __init__(self) -> None:
        self.length = 0
        self._parts: list[tuple[Sequence[bytes], bytes]] = []

    def __bool__(self) -> bool:
        return bool(self._parts)

    def add(self, chunk: bytes) -> None:
        """Add some metrics, unless there are none."""
        if chunk:
            self._parts.append(([chunk], b""))
            self.length += len(chunk)

    def add_numbers(self, heads: Sequence[bytes], values: bytes) -> bytes:
        """Add metrics with one number each.

        Args:
            heads: The bytes before each value.
            values: All values, eight bytes each; nothing if ``heads`` are complete metrics.

        Returns:
            Bytes of the same length as these metrics.
        """
        self._parts.append((heads, values))
        # Joining is the fastest way to add up their lengths.
        joined = b"".join([*heads, values])
        self.length += len(joined)
        return joined

    def chunks(self) -> Iterator[bytes]:
        """Yield the metrics, batch by batch."""
        for place, (heads, values) in enumerate(self._parts):
            self._parts[place] = ((), b"")  # free the memory of written batches
            if values:
                parts = [b""] * (2 * len(heads))
                parts[::2] = heads
                parts[1::2] = _split_doubles(values)
                yield b"".join(parts)
            else:
                yield b"".join(heads)


def _split_doubles(values: bytes) -> Sequence[bytes]:
    if len(values) == _SPLIT.size:
        return _SPLIT.unpack(values)
    return [values[start : start + 8] for start in range(0, len(values), 8)]
