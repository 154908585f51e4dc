"""The soak's writers: what they have made, and what became of it by their own counts, their log, and the store."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

from otel_aioprom import CollectorRegistry, RemoteWriter

_LOSSES = (
    re.compile(r"^(?P<samples>\d+) samples for (?P<of>\S+) were dropped"),
    re.compile(r"(?P<of>http\S+) (?:work again|end), .*; (?P<samples>\d+) samples are lost"),
)
_DEADLINE = 120.0
_OUTCOMES = ("sent", "refused", "dropped", "lost")


class LossLog(logging.Handler):
    """Adds up the samples that the log calls lost.

    Attributes:
        samples: Their number, by destination.
        lines: How many lines there were, by level.
    """

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.samples: dict[str, int] = {}
        self.lines: dict[str, int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Read one line."""
        line = record.getMessage()
        self.lines[record.levelname] = self.lines.get(record.levelname, 0) + 1
        for pattern in _LOSSES:
            if found := pattern.search(line):
                of = found["of"]
                self.samples[of] = self.samples.get(of, 0) + int(found["samples"])


class Writing:
    """One writer, and the samples that it has made.

    Args:
        name: Value of its label ``writer``.
        url: Of the server.
        registry: What it writes.
        **options: Of ``RemoteWriter``.

    Attributes:
        made: Samples and histograms that were encoded.
        collections: How many times the registry was collected.
    """

    def __init__(self, name: str, url: str, registry: CollectorRegistry, **options: Any) -> None:
        self.name = name
        self.destination = f"{url}/api/v1/write?writer={name}"
        self.made = self.collections = 0
        self._registry = registry
        self.writer = RemoteWriter(self.destination, external_labels={"writer": name}, **options)
        outbox = self.writer._outbox  # noqa: SLF001 - the only place where all samples pass
        self._put, outbox.put = outbox.put, self._count  # type: ignore[method-assign]
        self._write, self.writer.write = self.writer.write, self._collect  # type: ignore[method-assign]

    def running(self, interval: float) -> AbstractAsyncContextManager[RemoteWriter]:
        """Write in the background; at the end wait until everything has arrived."""
        return self.writer.running(self._registry, interval, exit_timeout=_DEADLINE)

    async def _collect(self, registry: CollectorRegistry) -> None:
        await self._write(registry)
        self.collections += 1

    async def _count(self, version: str, messages: Iterator[Any], timestamp: int) -> None:
        await self._put(version, self._counted(messages), timestamp)

    def _counted(self, messages: Iterator[Any]) -> Iterator[Any]:
        for message in messages:
            if message is not None:
                self.made += message.samples + message.histograms
            yield message

    def outcomes(self) -> dict[str, int]:
        """Return what became of the samples, by its self-metrics."""
        samples = self._registry.pushes.samples
        found = {
            labels["outcome"]: int(value)
            for labels, value in samples.get_all()
            if labels["destination"] == self.destination
        }
        return {outcome: found.get(outcome, 0) for outcome in _OUTCOMES}

    def problems(self, log: LossLog) -> list[str]:
        """Return what does not add up; to be called when the writer is closed."""
        outcomes = self.outcomes()
        accounted, told = sum(outcomes.values()), log.samples.get(self.destination, 0)
        found = []
        if accounted != self.made:
            found.append(f"{self.name}: {self.made:,} samples made, {accounted:,} accounted for")
        if (lost := accounted - outcomes["sent"]) != told:
            found.append(f"{self.name}: {lost:,} samples lost, the log tells of {told:,}")
        if not outcomes["sent"]:
            found.append(f"{self.name}: nothing arrived")
        return found
