"""What had to be left out of a response: counted, logged once, and never a reason to lose the rest."""

from __future__ import annotations

import logging
from typing import NamedTuple

from otel_aioprom._core.model import MetricFamily
from otel_aioprom.collectors import Counter

_logger = logging.getLogger(__name__)

_REMEMBERED = 10_000

SOURCE_FAILURES = frozenset({"late", "raised"})
"""Causes that a source as a whole is guilty of."""


class Fault(NamedTuple):
    """One thing that is wrong with a collection.

    Attributes:
        cause: One of a small closed set of words, the label of the self-metric: ``late``,
            ``raised``, ``untranslatable``, ``type_conflict``, ``name_conflict``, ``resource_conflict``,
            ``help_conflict``, ``duplicate_series``, ``slow_reader``.
        subject: What it is about: the name of a metric or of a source.
        message: A sentence for the log.
        lost: Something is missing from the response because of it.
        quiet: A stranger can bring it about, so that it is no news for the log.
        part: What of the subject it is about, if that makes it another fault.
    """

    cause: str
    subject: str
    message: str
    lost: bool = True
    quiet: bool = False
    part: str = ""


class FaultLog:
    """Counts what was lost and logs each fault once for its cause, subject and part."""

    def __init__(self) -> None:
        self._dropped = Counter(
            "otel_aioprom_dropped_total", "Metrics and sources left out of responses, by cause."
        )
        self._logged: set[tuple[str, str, str]] = set()

    def record(self, fault: Fault) -> None:
        """Count a fault if it lost something; log it unless it was logged before."""
        if fault.lost:
            self._dropped.inc({"cause": fault.cause})
        if fault.quiet:
            _logger.debug("%s: %s", fault.subject, fault.message)
            return
        key = (fault.cause, fault.subject, fault.part)
        # The bound keeps names that strangers can make up from filling the memory, or the log.
        if key not in self._logged and len(self._logged) < _REMEMBERED:
            self._logged.add(key)
            level = logging.ERROR if fault.lost else logging.WARNING
            _logger.log(level, "%s: %s (logged once)", fault.subject, fault.message)

    def family(self) -> MetricFamily:
        """The self-metric; without series as long as nothing was lost."""
        return self._dropped.family()
