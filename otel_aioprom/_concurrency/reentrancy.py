"""Who is being asked just now: known to all that is called and started meanwhile, so that nobody asks itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar


class _Answer:
    """Something that is being asked, known to all that is called and started meanwhile."""

    __slots__ = ("of", "over")

    def __init__(self, of: object) -> None:
        self.of = of
        self.over = False


_answers: ContextVar[tuple[_Answer, ...]] = ContextVar("answers", default=())


@contextmanager
def answering(asked: object) -> Iterator[None]:
    """Note that something is being asked in this block, so that it is not asked by itself."""
    answer = _Answer(asked)
    token = _answers.set((*_answers.get(), answer))
    try:
        yield
    finally:
        answer.over = True  # for what it has started, and what lives on
        with suppress(ValueError):  # a coroutine that is thrown away ends in another context
            _answers.reset(token)


def is_answering(asked: object) -> bool:
    """Tell whether it is this that has called, or started, what calls here."""
    return any(each.of is asked and not each.over for each in _answers.get())
