"""The documents: their programs run, and what is generated is up to date."""

from __future__ import annotations

import importlib.util
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
DEADLINE = 20.0
BLOCKS = [
    (page, block)
    for page in ("README.md", "docs/index.md")
    for block in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
]


def free_port() -> int:
    """Return a port that is free on the loopback address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fetch(url: str, program: subprocess.Popen[str], words: str) -> None:
    """Fetch a page from a program that is starting, until it has some words: its first metrics come a moment later."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end and program.poll() is None:
        with (
            suppress(urllib.error.URLError, ConnectionError),
            urllib.request.urlopen(url, timeout=DEADLINE) as response,
        ):
            if words in response.read().decode():
                return
        time.sleep(0.05)  # not a hope but a pause between two tries
    raise AssertionError(f"{url} never had {words!r}")


EXPLAINED = [
    (page.relative_to(ROOT).as_posix(), block)
    for page in sorted((ROOT / "docs").glob("*/*.md"))
    for block in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
]
SERVERS = [each for each in EXPLAINED if "while True:" in each[1]]  # they do not end
EXPLAINED = [each for each in EXPLAINED if each not in SERVERS]
BLOCKS += SERVERS


@pytest.mark.parametrize(
    ("page", "block"), EXPLAINED, ids=[f"{page}-{i}" for i, (page, _) in enumerate(EXPLAINED)]
)
def test_programs_in_explanations_run_to_their_end(page: str, block: str, tmp_path: Path) -> None:
    """With what they claim."""
    (tmp_path / "program.py").write_text(block, "utf-8")
    program = [sys.executable, "-W", "error", tmp_path / "program.py"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=DEADLINE, check=False)

    assert done.returncode == 0, f"{page}: {done.stderr}"


@pytest.mark.parametrize(
    ("page", "block"), BLOCKS, ids=[f"{page}-{i}" for i, (page, _) in enumerate(BLOCKS)]
)
def test_programs_in_documents_run_as_printed(page: str, block: str) -> None:
    """A program copied from a document serves metrics; only the port is another one."""
    port = free_port()
    code = re.sub(r"port=\d+", f"port={port}", block)
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code], stdout=subprocess.DEVNULL, text=True
    ) as program:
        try:
            fetch(f"http://127.0.0.1:{port}/metrics", program, "# TYPE")
        finally:
            program.terminate()


def test_the_prometheus_of_the_tutorial_scrapes_its_program() -> None:
    """The program that goes on serves on the port that the configuration scrapes."""
    page = (ROOT / "docs" / "tutorial" / "first_metrics.md").read_text("utf-8")
    (target,) = re.findall(r'targets: \["(.+?)"\]', page)
    programs = [block for name, block in SERVERS if name == "docs/tutorial/first_metrics.md"]

    assert len(programs) == 1
    (addr,) = re.findall(r'addr="(.+?)"', programs[0])
    (port,) = re.findall(r"port=(\d+)", programs[0])
    assert f"{addr}:{port}" == target


def tool(name: str) -> Any:
    """Load one of the programs that write pages."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_the_conformance_page_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page lists the tests that are there: `python tools/conformance.py` writes it anew."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    conformance = tool("conformance")

    assert conformance.main(["--check"]) == 0
    assert "**no test**" not in conformance.PAGE.read_text("utf-8")


def test_the_tables_of_the_reference_are_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """They say what the code says: `python tools/reference.py` writes them anew."""
    reference = tool("reference")

    for page, text in reference.pages().items():
        assert (ROOT / "docs" / "reference" / page.name).read_text("utf-8") == text


PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*/*.md")), *sorted(ROOT.glob("docs/*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_text_is_wrapped(page: Path) -> None:
    """Except tables; the reference is generated."""
    if page.parent.name != "reference":
        lines = [line for line in page.read_text("utf-8").splitlines() if not line.startswith("|")]
        assert [line for line in lines if len(line) > 120] == []


def test_the_start_page_leads_to_every_guide() -> None:
    """Whoever does not know that there is one finds it."""
    start = (ROOT / "docs" / "index.md").read_text("utf-8")
    guides = {page.relative_to(ROOT / "docs").as_posix() for page in ROOT.glob("docs/how-to/*.md")}
    assert {guide for guide in guides if f"({guide}" not in start} == set()
