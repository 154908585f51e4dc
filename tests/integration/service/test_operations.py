"""The documented alert rules and the dashboard are valid, and query existing metrics."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from processes import require

ROOT = Path(__file__).parents[3]
OPERATIONS = ROOT / "docs" / "operations"
OWN = re.compile(r"\botel_aioprom_\w+")
SUFFIXES = re.compile(r"_(bucket|sum|count)$")


def known() -> set[str]:
    """Names of the library's own metrics."""
    text = (ROOT / "docs" / "reference" / "self_metrics.md").read_text("utf-8")
    return set(OWN.findall(text))


def used(text: str) -> set[str]:
    """Names of metrics in queries; those of histograms without their suffix."""
    return {SUFFIXES.sub("", name) for name in OWN.findall(text)}


@pytest.mark.integration
@pytest.mark.parametrize("tool", ["promtool2", "promtool3"])
def test_rules_are_valid(tool: str) -> None:
    """For promtool of Prometheus 2 and 3."""
    words = [require(tool), "check", "rules", str(OPERATIONS / "alerts.yml")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 rules found" in done.stdout


def test_rules_query_existing_metrics() -> None:
    """And each is documented."""
    rules = yaml.safe_load((OPERATIONS / "alerts.yml").read_text("utf-8"))["groups"][0]["rules"]
    page = (OPERATIONS / "index.md").read_text("utf-8")
    found = used(" ".join(rule["expr"] for rule in rules))

    assert found
    assert found <= known()
    assert all(f"| `{rule['alert']}` |" in page for rule in rules)


@pytest.mark.integration
def test_the_dashboard_queries_existing_metrics(tmp_path: Path) -> None:
    """All of them, in valid queries."""
    dashboard = json.loads((OPERATIONS / "dashboard.json").read_text("utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert used(" ".join(queries)) == known()
    places = [
        (panel["gridPos"]["x"], panel["gridPos"]["y"], panel["id"]) for panel in dashboard["panels"]
    ]
    assert (
        len({place[:2] for place in places}) == len({place[2] for place in places}) == len(queries)
    )

    filled = [query.replace("$__rate_interval", "5m").replace("$job", "x") for query in queries]
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(filled)]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    words = [require("promtool3"), "check", "rules", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
