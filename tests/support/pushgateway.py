"""A real Pushgateway, of either generation."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prometheus_client.samples import Sample

from client_model import read_delimited
from processes import ServerProcess, fetch, require, wait_until
from servers import parse_with_prometheus_client

VERSIONS = ("pushgateway1.5", "pushgateway1.11")
_PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)
OWN = ("go_", "process_", "promhttp_", "pushgateway_")
"""What names of its own metrics begin with."""


class Pushgateway(ServerProcess):
    """A gateway that keeps what is pushed in memory.

    Args:
        name: One of ``VERSIONS``.
        flags: More words for the command line.
    """

    def __init__(self, name: str, flags: Sequence[str] = ()) -> None:
        program = require(name)
        super().__init__(
            lambda _, port: [program, f"--web.listen-address=127.0.0.1:{port}", *flags],
            "/-/ready",
        )

    def samples(self, **labels: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
        """Return name → labels beside these → value, of all samples that have these labels."""
        found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        for sample in self._samples():
            if labels.items() <= sample.labels.items() and not sample.name.startswith(OWN):
                others = {**sample.labels, "instance": sample.labels.get("instance", "")}
                rest = tuple(sorted((k, v) for k, v in others.items() if k not in labels and v))
                found.setdefault(sample.name, {})[rest] = sample.value
        return found

    def _samples(self) -> list[Sample]:
        body, _ = fetch(f"{self.url}/metrics", {"Accept": "text/plain;version=0.0.4"})
        return [each for family in parse_with_prometheus_client(body) for each in family.samples]

    def families(self) -> dict[str, Any]:
        """Return name → family, as its protobuf exposition has them."""
        body, _ = fetch(f"{self.url}/metrics", {"Accept": _PROTOBUF})
        return {family.name: family for family in read_delimited(body)}

    def groups(self) -> list[dict[str, str]]:
        """Return the labels of all groups."""
        body, _ = fetch(f"{self.url}/api/v1/metrics")
        return [group["labels"] for group in json.loads(body)["data"] or []]

    def freeze(self) -> None:
        """Freeze the process: it listens, but does not respond."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self._process.pid}/task")
        # The signal has arrived when no thread runs any more.
        wait_until(lambda: all(_is_stopped(each) for each in tasks.iterdir()))

    def thaw(self) -> None:
        """Resume the process."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


def _is_stopped(task: Path) -> bool:
    state = (task / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2]
    return state.split()[0] == "T"
