"""What summaries show: quantiles beside count and sum, and those that were worked out elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from otel_aioprom._concurrency.atomic import one_step
from otel_aioprom._core.model import Series


class Quantiles(Series):
    """What all series of summaries can tell."""

    __slots__ = ()

    def quantiles(self) -> Sequence[tuple[float, float]]:
        """Return each quantile with its estimate, ascending."""
        raise NotImplementedError

    def snapshot(self) -> tuple[int, float]:
        """Return count and sum, both of one moment."""
        raise NotImplementedError

    def get(self) -> dict[str | float, int | float]:
        """Return quantile → estimate, then ``"count"`` and ``"sum"``."""
        found: dict[str | float, int | float] = dict(self.quantiles())
        found["count"], found["sum"] = self.snapshot()
        return found


@one_step("load", "snapshot")
class SummaryPoint(Quantiles):
    """A summary that was worked out elsewhere.

    Args:
        names: Label names as exposed, sorted.
        values: Their values.
        text: Both as exposition text.
        count: How many values were observed.
        total: Their sum.
        estimates: Pairs of quantile and estimate, ascending.
        created: When counting began, in seconds since the epoch, if that is known.
    """

    __slots__ = ("_estimates", "count", "created", "names", "text", "total", "values", "wire")

    def __init__(
        self,
        names: tuple[str, ...],
        values: tuple[str, ...],
        text: str,
        count: int,
        total: float,
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

    def load(self, count: int, total: float, estimates: Sequence[tuple[float, float]]) -> None:
        """Replace everything in one step, as a collection from elsewhere does.

        Args:
            count: How many values were observed.
            total: Their sum.
            estimates: Pairs of quantile and estimate, ascending.
        """
        self.count = count
        self.total = total
        self._estimates = estimates

    def quantiles(self) -> Sequence[tuple[float, float]]:
        """Return each quantile with its estimate, ascending."""
        return self._estimates

    def snapshot(self) -> tuple[int, float]:
        """Return count and sum."""
        return self.count, self.total
