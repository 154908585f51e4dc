"""What every format can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from operator import attrgetter
from typing import ClassVar, TypeVar, cast

from otel_aioprom._core.escaping import Escaping
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.formats.name_escaping import respell
from otel_aioprom.registry.faults import Fault
from otel_aioprom.registry.registry import CollectorRegistry

F = TypeVar("F", bound="IFormatter")


class IFormatter(ABC):
    """Writes families in one exposition format.

    Args:
        timestamps: Put the time of encoding on every sample. Neither the service nor a pusher asks for that:
            a sample with a timestamp is never marked stale.
        created_samples: Write start times as samples of their own, in formats that have such
            (``_created``, OpenMetrics). To servers that do not know them, each is one more series.

    Attributes:
        protocol: What Prometheus calls the format in its ``scrape_protocols``.
        escaping: What becomes of names that are not classic.

    Spec:
        N14, E17, M66.
    """

    protocol: ClassVar[str]
    escaping: ClassVar[Escaping] = "underscores"

    def __init__(self, timestamps: bool = False, *, created_samples: bool = False) -> None:
        self.timestamps = timestamps
        self.created_samples = created_samples

    @abstractmethod
    def get_headers(self) -> dict[str, str]:
        """Return the headers that go with the bytes: the exact ``Content-Type``."""

    def prepare(
        self, families: Sequence[MetricFamily]
    ) -> tuple[Sequence[MetricFamily], Sequence[Fault]]:
        """Turn families into those that this format can carry: final names, and no two in each other's way.

        Args:
            families: As the registry gathers them, in order of precedence.

        Returns:
            What to encode, sorted by name, and what had to be left out or changed.

        Spec:
            E45, E49, M22.
        """
        respelled, faults = respell(families, self.escaping)
        admitted, clashes = self._admit(respelled)
        return sorted(admitted, key=attrgetter("name")), [*faults, *clashes]

    def _admit(
        self, families: Sequence[MetricFamily]
    ) -> tuple[Sequence[MetricFamily], Sequence[Fault]]:
        """Leave out what this format cannot tell apart; the registry has seen to sample names."""
        return families, ()

    @abstractmethod
    def encode(self, families: Iterable[MetricFamily]) -> Iterator[bytes]:
        """Write families, a chunk at a time.

        Values are read as their chunk is made. Encoding does not fail half-way: whatever could
        fail was refused when it was recorded, gathered or prepared.

        Args:
            families: As ``prepare`` returns them.

        Yields:
            Bytes, made in a fraction of a millisecond each; empty ones where there is more to do than to
            show for it.
        """

    def marshall(self, registry: CollectorRegistry) -> bytes:
        """Collect a registry in the calling thread and return all of it."""
        families, faults = self.prepare(registry.gather().families)
        registry.report(faults)
        return b"".join(self.encode(families))


@cache
def with_escaping(formatter: type[F], escaping: Escaping) -> type[F]:
    """Return a formatter class that treats names in another way.

    Args:
        formatter: A formatter's class.
        escaping: One of the schemes.

    Returns:
        The class itself where it has this scheme, else a subclass of the same name, always the same one.
    """
    if formatter.escaping == escaping:
        return formatter
    made = type(
        formatter.__name__, (formatter,), {"escaping": escaping, "__doc__": formatter.__doc__}
    )
    return cast("type[F]", made)
