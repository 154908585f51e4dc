"""Faults of a collection: what is missing from a response, or odd in it; counted, and logged once each."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from otel_aioprom._concurrency.user_code import safe_repr
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.collectors import Counter

_logger = logging.getLogger(__name__)

_REMEMBERED = 10_000

SOURCE_FAILURES = frozenset({"late", "raised"})
"""Causes by which a source as a whole fails."""

NO_PROVIDER = "no_provider"
"""Cause of a reader that no OpenTelemetry provider has."""

OWN_PREFIX = "otel_aioprom_"
"""Start of the names of the library's own metrics."""


class Fault(NamedTuple):
    """One thing that is wrong with a collection.

    Attributes:
        cause: The label value of the self-metric, one of ``late``, ``raised``, ``untranslatable``, ``type_conflict``,
            ``name_conflict``, ``resource_conflict``, ``help_conflict``, ``duplicate_series``, ``slow_reader``,
            ``empty``, ``label_conflict``, ``no_provider``.
        subject: Name of the metric or of the source.
        message: A sentence for the log.
        lost: Something is missing from the response because of it.
        quiet: A client can cause it, so that it is logged at DEBUG only.
        part: Part of the subject; faults of different parts are logged separately.
        number: How many such things there are, at least 1.
    """

    cause: str
    subject: str
    message: str
    lost: bool = True
    quiet: bool = False
    part: str = ""
    number: int = 1


def checked_fault(fault: Any) -> Fault:
    """Return a fault from user code, as a plain one.

    Raises:
        TypeError: One of its fields has a wrong type.
    """
    cause, subject, message, part = fault.cause, fault.subject, fault.message, fault.part
    lost, quiet, number = fault.lost, fault.quiet, fault.number
    if not all(type(text) is str for text in (cause, subject, message, part)):
        raise TypeError(f"the words of a fault must be strings, not {safe_repr(fault)}")
    if not (type(lost) is type(quiet) is bool):
        raise TypeError(f"lost and quiet of a fault must be bools, not {safe_repr(fault)}")
    if type(number) is not int or number < 1:
        raise TypeError(
            f"the number of a fault must be an int of 1 or more, not {safe_repr(fault)}"
        )
    return Fault(cause, subject, message, lost, quiet, part, number)


class FaultTally:
    """Counts what is dropped of one metric: one fault for each part, however many series have it.

    Args:
        subject: Name of the metric.
    """

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._faults: dict[str, Fault] = {}

    def add(self, part: str, message: str, *, lost: bool = True) -> None:
        """Count one more; the message of the first of each part is kept."""
        fault = self._faults.get(part)
        if fault is None:
            self._faults[part] = Fault("untranslatable", self._subject, message, lost, part=part)
        else:
            self._faults[part] = fault._replace(number=fault.number + 1)

    def faults(self) -> list[Fault]:
        """Return the faults."""
        return [
            fault._replace(message=f"{fault.message} (one of {fault.number} such)")
            if fault.number > 1
            else fault
            for fault in self._faults.values()
        ]


def empty_fault(collectors: int, sources: int) -> Fault:
    """Return why a collection has no series but those of the library's own metrics.

    Args:
        collectors: Number of registered collectors.
        sources: Number of sources.
    """
    if collectors or sources:
        reason = (
            f"nothing is measured yet: {collectors} collectors and {sources} sources are "
            "registered, and none has a series"
        )
        return Fault("empty", "the metrics page", reason, lost=False, quiet=True)
    reason = (
        "no metrics are registered in this registry: create collectors with registry=..., or pass "
        "them to its register()"
    )
    return Fault("empty", "the metrics page", reason, lost=False)


class FaultLog:
    """Counts faults that lost something, and logs each fault once for its cause, subject and part."""

    def __init__(self) -> None:
        self._dropped = Counter(
            "otel_aioprom_dropped_total", "Metrics and sources left out of responses, by cause."
        )
        self._logged: set[tuple[str, str, str]] = set()

    def record(self, fault: Fault) -> None:
        """Count a fault if it lost something; log it unless it was logged before."""
        if fault.lost:
            self._dropped.add({"cause": fault.cause}, fault.number)
        if fault.quiet:
            _logger.debug("%s: %s", fault.subject, fault.message)
            return
        key = (fault.cause, fault.subject, fault.part)
        # Limited: names that clients can make up must fill neither the memory nor the log.
        if key not in self._logged and len(self._logged) < _REMEMBERED:
            self._logged.add(key)
            level = logging.ERROR if fault.lost else logging.WARNING
            _logger.log(level, "%s: %s (logged once)", fault.subject, fault.message)

    def family(self) -> MetricFamily:
        """Return the self-metric; without series as long as nothing was lost."""
        return self._dropped.family()
