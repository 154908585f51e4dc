"""The base class of formatters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from operator import attrgetter
from typing import ClassVar, TypeVar, cast

from otel_aioprom._core.escaping import Escaping
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.formats.name_escaping import escape_names
from otel_aioprom.registry.faults import Fault
from otel_aioprom.registry.registry import CollectorRegistry, check_registry

F = TypeVar("F", bound="IFormatter")


class IFormatter(ABC):
    """Encodes families in one exposition format.

    Args:
        timestamps: Write the time of encoding with every sample. Services and pushers do not: Prometheus does not
            mark samples with timestamps as stale.
        created_samples: Write start times as ``_created`` samples, in OpenMetrics. Servers that do not know these
            store each as one more series.

    Attributes:
        protocol: Prometheus' name of the format in ``scrape_protocols``.
        escaping: Escaping scheme of names outside the classic character set.

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
        """Return the headers of the body: the exact ``Content-Type``."""

    def prepare(
        self, families: Sequence[MetricFamily]
    ) -> tuple[Sequence[MetricFamily], Sequence[Fault]]:
        """Escape names, and drop families whose names collide in this format.

        Args:
            families: From the registry, in order of precedence.

        Returns:
            Families to encode, sorted by name, and what was dropped or changed.

        Spec:
            E45, E49, M22.
        """
        escaped, faults = escape_names(families, self.escaping)
        admitted, collisions = self._admit(escaped)
        return sorted(admitted, key=attrgetter("name")), [*faults, *collisions]

    def _admit(
        self, families: Sequence[MetricFamily]
    ) -> tuple[Sequence[MetricFamily], Sequence[Fault]]:
        """Drop families whose names collide in this format; the registry has checked sample names."""
        return families, ()

    @abstractmethod
    def encode(self, families: Iterable[MetricFamily]) -> Iterator[bytes]:
        """Encode families chunk by chunk.

        Each chunk has the values of the time when it is read. Encoding does not fail half-way: invalid data was
        refused when it was recorded, collected or prepared.

        Args:
            families: As ``prepare`` returns them.

        Yields:
            Chunks, each encoded in a fraction of a millisecond; empty ones as steps of longer computations.
        """

    def marshall(self, registry: CollectorRegistry) -> bytes:
        """Collect a registry in the calling thread and return it encoded.

        Raises:
            TypeError: ``registry`` is no registry.
        """
        families, faults = self.prepare(check_registry(registry).gather().families)
        registry.report(faults)
        return b"".join(self.encode(families))


@cache
def with_escaping(formatter: type[F], escaping: Escaping) -> type[F]:
    """Return a formatter class with another escaping scheme.

    Args:
        formatter: A formatter's class.
        escaping: The escaping scheme.

    Returns:
        The class itself if it has this scheme, else a cached subclass of the same name.
    """
    if formatter.escaping == escaping:
        return formatter
    namespace = {"escaping": escaping, "__doc__": formatter.__doc__}
    return cast("type[F]", type(formatter.__name__, (formatter,), namespace))
