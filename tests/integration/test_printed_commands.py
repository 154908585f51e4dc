"""Every command that README and documents print, in an environment with what the page tells to install, no more."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from printed import PACKAGE, ROOT, Command, commands, environment, is_install
from processes import answers, fetch, free_port, wait_until

pytestmark = pytest.mark.integration

PROGRAM = """
import time
from opentelemetry import metrics

metrics.get_meter("m").create_counter("jobs").add(3)
time.sleep(60)
"""
PRINTED = list(  # each once, although several pages name `make test`
    {(each.text, each.installed): each for each in commands() if not is_install(each)}.values()
)
INSTALLED = {command.installed: command for command in commands()}


def assignments(text: str) -> tuple[dict[str, str], str]:
    """Split a command into the variables that it sets, and the rest."""
    match = re.fullmatch(r"((?:[A-Z_]+=\S+ )*)(.+)", text)
    assert match is not None
    return dict(part.split("=", 1) for part in match[1].split()), match[2]


def only_make(command: Command, folder: Path) -> None:
    """Check that make knows the targets and would run."""
    done = subprocess.run(
        ["make", "--dry-run", *shlex.split(command.text)[1:], f"PYTHON={sys.executable}"],  # noqa: S607
        cwd=ROOT,
        env={**os.environ, "MAKEFLAGS": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def only_known(command: Command, folder: Path) -> None:
    """Check nothing: the command is run while the environment is built."""


def failed(process: subprocess.Popen[bytes], log: Path) -> bool:
    """Return whether a program has ended, or has logged that something was not set up."""
    return process.poll() is not None or "Traceback" in log.read_text()


def serve_without_code(command: Command, folder: Path) -> None:
    """Run it on a program that counts, with the page's configuration file; read the metrics."""
    programs, port = environment(command.installed), free_port()
    (folder / "app.py").write_text(PROGRAM)
    for block in re.findall(r"```yaml\n(.*?)```", (ROOT / command.page).read_text(), re.DOTALL):
        (folder / "otel.yaml").write_text(re.sub(r"port: \d+", f"port: {port}", block))
    settings, text = assignments(command.text)
    inherited = {name: value for name, value in os.environ.items() if "OTEL" not in name}
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    ours = {"PATH": path, "OTEL_EXPORTER_PROMETHEUS_PORT": str(port)}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [programs / text.split()[0], *text.split()[1:]],
            cwd=folder,
            env={**inherited, **ours, **settings},
            stdout=log,
            stderr=log,
        )
    try:
        url = f"http://localhost:{port}/metrics"
        wait_until(lambda: answers(url) or failed(process, folder / "log"), 60, command.text)
        assert not failed(process, folder / "log"), (folder / "log").read_text()
        assert 'jobs_total{otel_scope_name="m"' in fetch(url)[0].decode()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


# The start of a command → how it is tested. Whoever prints another kind of command adds it here.
KINDS: dict[str, Callable[[Command, Path], None]] = {
    "make ": only_make,
    "opentelemetry-instrument ": serve_without_code,
    "python3 -m venv ": only_known,
}


@pytest.mark.parametrize("installed", INSTALLED, ids=" ".join)
def test_what_pages_tell_to_install_can_be_installed(installed: tuple[str, ...]) -> None:
    """And the library can be imported then."""
    done = subprocess.run(
        [environment(installed) / "python", "-I", "-W", "error", "-c", "import otel_aioprom"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert any(package.startswith(PACKAGE) for package in installed)


@pytest.mark.parametrize("command", PRINTED, ids=[f"{each.page}-{each.text}" for each in PRINTED])
def test_printed_commands_do_what_they_claim(command: Command, tmp_path: Path) -> None:
    """With exactly the packages that the page has told to install by then."""
    _, text = assignments(command.text)
    kinds = [check for start, check in KINDS.items() if text.startswith(start)]

    assert kinds, f"{command.page} prints {text!r}: say in KINDS how it is tested"
    kinds[0](command, tmp_path)
