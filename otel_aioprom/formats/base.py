"""What every format can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

from otel_aioprom.model import MetricFamily
from otel_aioprom.registry import CollectorRegistry


class IFormatter(ABC):
    """Writes families in one exposition format.

    Args:
        timestamps: Put the time of encoding on every sample. Neither the service nor a pusher asks for that:
            a sample with a timestamp is never marked stale.

    Spec:
        N14, E17.
    """

    def __init__(self, timestamps: bool = False) -> None:
        self.timestamps = timestamps

    @abstractmethod
    def get_headers(self) -> dict[str, str]:
        """Return the headers that go with the bytes: the exact ``Content-Type``."""

    @abstractmethod
    def encode(self, families: Iterable[MetricFamily]) -> Iterator[bytes]:
        """Write families, a chunk at a time.

        Values are read as their chunk is made. Encoding does not fail half-way: whatever could
        fail was refused when it was recorded or gathered.

        Args:
            families: As the registry gathers them.

        Yields:
            Bytes, made in a fraction of a millisecond each.
        """

    def marshall(self, registry: CollectorRegistry) -> bytes:
        """Collect a registry in the calling thread and return all of it."""
        return b"".join(self.encode(registry.gather().families))
