"""One description for each metric name: several instrumentations describe one metric in words of their own."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

from otel_aioprom._core.model import MetricFamily
from otel_aioprom.registry.faults import Fault

_logger = logging.getLogger(__name__)


class Descriptions:
    """The descriptions of a reader's metrics: the first one of a name that is not empty stays."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], str] = {}
        self._logged: set[str] = set()

    def unify(self, families: Iterable[MetricFamily | Fault]) -> list[MetricFamily | Fault]:
        """Return families with the description that is kept for their name; log in one line which names had others.

        Spec:
            M55.
        """
        every = list(families)
        for family in every:
            if isinstance(family, MetricFamily) and family.doc:
                self._kept.setdefault((family.name, family.type), family.doc)
        differing: set[str] = set()
        for index, family in enumerate(every):
            if isinstance(family, Fault):
                continue
            kept = self._kept.get((family.name, family.type), "")
            if family.doc != kept:
                every[index] = replace(family, doc=kept)
                differing.update([family.name] if family.doc else ())
        self._log(differing - self._logged)
        return every

    def _log(self, names: set[str]) -> None:
        if names:
            self._logged |= names
            _logger.info(
                "OpenTelemetry scopes describe the same metric differently, the first description is kept: %s "
                "(logged once)",
                ", ".join(sorted(names)),
            )
