"""The tutorial done as printed: a real Prometheus scrapes its program, by its configuration."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from servers import PrometheusServer, ScrapeJob, free_port

pytestmark = pytest.mark.integration

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial" / "first_metrics.md"
INTERVAL = {"scrape_interval": "1s", "scrape_timeout": "1s"}  # a test does not wait for 15 s


@pytest.mark.parametrize("name", ["prometheus2", "prometheus3"])
def test_the_tutorial_ends_with_a_target_that_is_up(name: str, tmp_path: Path) -> None:
    """And with the metrics that its queries ask for; only the port is another one."""
    text, port = PAGE.read_text("utf-8"), str(free_port())
    text = text.replace("9464", port)
    (program,) = [
        block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if port in block
    ]
    (config,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (job,) = yaml.safe_load(config)["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    queries = re.findall(r"^\| `(.*?)` \|", text, re.MULTILINE)
    (tmp_path / "shop.py").write_text(program)

    with (
        PrometheusServer(name, [ScrapeJob(job["job_name"], target, INTERVAL)]) as server,
        subprocess.Popen([sys.executable, "-W", "error", "shop.py"], cwd=tmp_path) as shop,
    ):
        try:
            server.wait_for_scrape("shop")
            server.wait_for_scrape("shop")
            assert server.value('up{job="shop"}') == 1
            assert len(queries) == 2
            for query in queries:
                assert server.query(query), json.dumps(query)
        finally:
            shop.terminate()
