"""Write docs/reference/conformance.md: which tests check which rule.

The name of a test starts with the ids of the rules that it checks: ``test_m13_…`` or ``test_e09_e10_…``.

Usage:
    python tools/conformance.py [--check]
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from pathlib import Path

from rules import EXPOSITION, MAPPING, UNTESTED, UNTESTED_MAPPING

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "tests"
PAGE = ROOT / "docs" / "reference" / "conformance.md"
SETS = {
    "M": "OpenTelemetry to Prometheus",
    "E": "Exposition formats",
    "N": "Native collectors and their API",
}
HEAD = """# Conformance

Which tests check which rule. The rules have these sources:

| rules | source | listed here |
|---|---|---|
| M | Prometheus compatibility pages of the OpenTelemetry specification | all; a rule without a test has the reason |
| E | Prometheus and OpenMetrics exposition formats, pushing, remote write | all; a rule without a test has the reason |
| N | the documented API of aioprometheus | rules with a test |

`tools/conformance.py` writes this page.
"""
LISTED = {"E": (EXPOSITION, UNTESTED), "M": (MAPPING, UNTESTED_MAPPING)}
"""Sets whose rules are all listed: their titles, and why some have no test."""
_TEST = re.compile(r"^\s*(?:async )?def (test_((?:[a-z]\d+_)+)\w+)", re.MULTILINE)


def find_tests() -> dict[str, list[str]]:
    """Return rule → tests, as ``file::name``, files below ``tests``."""
    rules: dict[str, list[str]] = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        for name, ids in _TEST.findall(path.read_text(encoding="utf-8")):
            for rule in re.findall(r"([a-z])(\d+)_", ids):
                rules[f"{rule[0].upper()}{int(rule[1])}"].append(
                    f"{path.relative_to(TESTS).as_posix()}::{name}"
                )
    return rules


def page(rules: dict[str, list[str]]) -> str:
    """Return the page's text."""
    parts = [HEAD]
    for letter, title in SETS.items():
        parts.append(f"\n## {title}\n\n")
        if letter in LISTED:
            about, untested = LISTED[letter]
            parts.append("| rule | about | tests |\n|---|---|---|\n")
            parts += [
                f"| {letter}{rule} | {about[rule]} | {_proof(rules, f'{letter}{rule}', untested.get(rule))} |\n"
                for rule in about
            ]
        else:
            mine = sorted(
                (rule for rule in rules if rule[0] == letter), key=lambda rule: int(rule[1:])
            )
            parts.append("| rule | tests |\n|---|---|\n")
            parts += [f"| {rule} | {_listed(rules[rule])} |\n" for rule in mine]
    return "".join(parts)


def _proof(rules: dict[str, list[str]], rule: str, reason: str | None) -> str:
    tests = rules.get(rule, [])
    return _listed(tests) if tests else reason or "**no test**"


def _listed(tests: list[str]) -> str:
    return "<br>".join(f"`{test}`" for test in tests)


def main(arguments: list[str]) -> int:
    """Write the page. With ``--check``, return 0 if it is up to date, else 1."""
    text = page(find_tests())
    if "--check" in arguments:
        return 0 if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text else 1
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
