"""A real VictoriaMetrics, single-node."""

from __future__ import annotations

import json
from collections.abc import Sequence

from processes import fetch, require
from scraper import QuerySample, ScrapeJob, Scraper


class VictoriaMetricsServer(Scraper):
    """A real VictoriaMetrics that scrapes the given jobs.

    Its first scrape comes within one interval after the start.

    Args:
        jobs: What to scrape; it refuses settings that it does not know, as ``scrape_protocols``.
        interval: Scrape interval and timeout, at most a second.
        flags: More words for the command line.
    """

    # It writes the time that a scrape was planned for, as long as that is off by at most a
    # tenth of the interval.
    stamp_tolerance = 0.15

    def __init__(
        self, jobs: Sequence[ScrapeJob], *, interval: str = "1s", flags: Sequence[str] = ()
    ) -> None:
        program = require("victoriametrics")
        super().__init__(
            lambda folder, port: [
                program,
                f"-promscrape.config={folder / 'prometheus.yml'}",
                f"-storageDataPath={folder / 'data'}",
                f"-httpListenAddr=127.0.0.1:{port}",
                # By default a query sees nothing of the last half minute.
                "-search.latencyOffset=0s",
                *flags,
            ],
            "/health",
        )
        config = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval},
            "scrape_configs": [job.config() for job in jobs],
        }
        (self.folder / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")

    def warnings(self, since: int = 0) -> list[str]:
        """Return warnings and errors of the log, failed scrapes among them.

        Args:
            since: How many characters of the log to pass over.
        """
        lines = [line.split("\t") for line in self.log()[since:].splitlines()]
        # time, level, place in the source, message
        return [
            "\t".join(parts)
            for parts in lines
            if len(parts) > 1 and parts[1] in {"warn", "error", "fatal", "panic"}
        ]

    def query(self, expr: str) -> list[QuerySample]:
        """Return the series that an instant query finds now."""
        # Otherwise what was scraped is found only seconds later, new series last of all.
        fetch(f"{self.url}/internal/force_flush")
        return super().query(expr)
