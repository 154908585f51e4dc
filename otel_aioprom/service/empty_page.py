"""Why a metrics page is empty, as a comment for the person who looks at it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from otel_aioprom.formats import IFormatter, TextFormatter
from otel_aioprom.negotiator import media_ranges


def explained(
    chunks: Iterator[bytes], reason: str, accept: Sequence[str], formatter: IFormatter
) -> Iterator[bytes]:
    """Put the reason why a page is empty before its chunks, if a person asks for the page as text.

    Args:
        chunks: The body.
        reason: A sentence; empty if the page is not.
        accept: Values of all ``Accept`` headers. Browsers ask for ``text/html``, ``curl`` for ``*/*`` alone. A scraper
            names its formats, or none, and gets no comment.
        formatter: The format of the body; only the text formats have comments.

    Spec:
        E4.
    """
    if reason and isinstance(formatter, TextFormatter) and _is_person(accept):
        return chain([f"# {reason}\n".encode()], chunks)
    return chunks


def _is_person(accept: Sequence[str]) -> bool:
    types = {each.media_type for each in media_ranges(accept)}
    return "text/html" in types or types == {"*/*"}
