"""Series of summaries as they are exposed, and summaries that were computed elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from otel_aioprom._concurrency.atomic import atomic_methods
from otel_aioprom._core.model import Series


class Quantiles(Series):
    """Base of the series of summaries."""

    __slots__ = ()

    def quantiles(self) -> Sequence[tuple[float, float]]:
        """Return each quantile with its estimate, ascending."""
        raise NotImplementedError

    def snapshot(self) -> tuple[int | None, float | None]:
        """Return count and sum in one consistent snapshot; ``None`` for what a source has not."""
        raise NotImplementedError

    def get(self) -> dict[str | float, int | float | None]:
        """Return quantile → estimate, then ``"count"`` and ``"sum"``."""
        found: dict[str | float, int | float | None] = dict(self.quantiles())
        found["count"], found["sum"] = self.snapshot()
        return found


@atomic_methods("load", "snapshot")
class SummaryPoint(Quantiles):
    """A summary that was computed elsewhere.

    Args:
        names: Label names as exposed, sorted.
        values: Their values.
        text: Both as exposition text.
        count: Number of observed values; ``None`` if it is unknown.
        total: Their sum; ``None`` if it is unknown.
        estimates: Pairs of quantile and estimate, ascending.
        created: Start time in seconds since the epoch, if known.
    """

    __slots__ = ("_estimates", "count", "created", "names", "text", "total", "values", "wire")

    def __init__(
        self,
        names: tuple[str, ...],
        values: tuple[str, ...],
        text: str,
        count: int | None,
        total: float | None,
        estimates: Sequence[tuple[float, float]],
        created: float | None = None,
    ) -> None:
        self.names = names
        self.values = values
        self.text = text
        self.count = count
        self.total = total
        self._estimates = estimates
        self.created = created
        self.wire = None

    def load(
        self, count: int | None, total: float | None, estimates: Sequence[tuple[float, float]]
    ) -> None:
        """Replace everything in one step, as the collection of a source does.

        Args:
            count: Number of observed values, or ``None``.
            total: Their sum, or ``None``.
            estimates: Pairs of quantile and estimate, ascending.
        """
        self.count = count
        self.total = total
        self._estimates = estimates

    def quantiles(self) -> Sequence[tuple[float, float]]:
        """Return each quantile with its estimate, ascending."""
        return self._estimates

    @property
    def is_partial(self) -> bool:
        """Whether it has no count, or no sum."""
        return self.count is None or self.total is None

    def snapshot(self) -> tuple[int | None, float | None]:
        """Return count and sum."""
        return self.count, self.total
