"""The texts of a message of remote write 2.0, and what is kept of a message for the next collection.

Which number stands for a text depends on all that went before it in the message. As long as the steps in
which a message is written stay the same from its beginning on, so do the numbers; from the first step that
differs, texts are forgotten and numbered anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from otel_aioprom.formats.protobuf_wire import varint
from otel_aioprom.remote_write.fields import SMALL

_SMALL = len(SMALL)


class Symbols(dict[str, bytes]):
    r"""Texts, each once, with the number that stands for it.

    Attributes:
        fields: The texts as fields of the message.

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
        self[""]  # must be the first

    def __missing__(self, text: str) -> bytes:
        content = text.encode()
        length = len(content)
        self.fields.append(
            b"\x22" + (SMALL[length] if length < _SMALL else varint(length)) + content
        )
        self[text] = reference = varint(len(self))
        return reference

    def cut(self, count: int) -> None:
        """Forget all but the first texts."""
        while len(self) > count:
            self.popitem()
        del self.fields[count:]


class Step(NamedTuple):
    """Series that were written at once.

    Attributes:
        key: What their bytes depend on, besides values and the time of the collection.
        heads: What goes before each value.
        tails: What comes after each timestamp.
        texts: How many texts the message has after them.
    """

    key: tuple[Any, ...]
    heads: Sequence[bytes]
    tails: Sequence[bytes]
    texts: int


class Draft:
    """What is kept of a message: its texts, and the steps in which it was written.

    Attributes:
        symbols: The texts.
    """

    def __init__(self) -> None:
        self.symbols = Symbols()
        self._steps: list[Step] = []
        self._place = 0

    def reuse(self, key: tuple[Any, ...]) -> Step | None:
        """Return the next step if it was the same in the last collection; if not, forget it and all that came after."""
        if self._place < len(self._steps):
            step = self._steps[self._place]
            if step.key == key:
                self._place += 1
                return step
        self.trim()
        return None

    def add(
        self, key: tuple[Any, ...], heads: Sequence[bytes], tails: Sequence[bytes], lasting: bool
    ) -> Step:
        """Enter the next step.

        Args:
            key: What it depends on.
            heads: What goes before each value.
            tails: What comes after each timestamp.
            lasting: It holds for the next collection too.
        """
        step = Step(key if lasting else (), heads, tails, len(self.symbols))
        self._steps.append(step)
        self._place += 1
        return step

    def trim(self) -> None:
        """Forget the steps that were not reused, and the texts that only they need."""
        del self._steps[self._place :]
        self.symbols.cut(self._steps[-1].texts if self._steps else 1)

    def rewind(self) -> None:
        """Go back to the first step, for the next collection."""
        self._place = 0
