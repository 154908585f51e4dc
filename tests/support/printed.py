"""The shell commands that the documents print, each with what its page has told to install by then."""

from __future__ import annotations

import atexit
import functools
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/**/*.md")
PACKAGE = "otel-aioprom"
CACHE = ROOT / ".cache" / "environments"

_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
_BLOCK = re.compile(r"^```(?:sh|bash|console|shell)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:make|(?:\S*/)?pip install) [^`]+)`")
_INSTALL = re.compile(r"(?:\S*/)?pip install (.+)")


class Command(NamedTuple):
    """A printed command: its page, the text, and all that the page has told to install before it."""

    page: str
    text: str
    installed: tuple[str, ...]


def commands() -> list[Command]:
    """Return every command of every page: the blocks, and what is printed in a line."""
    pages = sorted({page for pattern in PAGES for page in ROOT.glob(pattern)})
    return [command for page in pages for command in _commands_of(page)]


def _commands_of(page: Path) -> Iterator[Command]:
    installed = {PACKAGE}
    text = page.read_text("utf-8")
    found = [(match.start(), match[1]) for match in _BLOCK.finditer(text)]
    found += [(match.start(), match[1]) for match in _INLINE.finditer(text)]
    for _, block in sorted(found):
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            command = re.sub(r"\s+#.*", "", line).strip()
            if not command:
                continue
            if install := _INSTALL.fullmatch(command):
                installed.update(install[1].replace("'", "").replace('"', "").split())
            yield Command(page.relative_to(ROOT).as_posix(), command, tuple(sorted(installed)))


def is_install(command: Command) -> bool:
    """Return whether a command installs packages."""
    return _INSTALL.fullmatch(command.text) is not None


def environment(installed: tuple[str, ...]) -> Path:
    """Return the folder of programs of a virtual environment that holds these packages and nothing else.

    It is kept below ``.cache``, and built again when the packages, the interpreter or this library change.
    """
    name = hashlib.sha256(" ".join((sys.executable, *installed)).encode()).hexdigest()[:12]
    folder, contents = CACHE / name, _contents()
    built = folder / "built"
    if not built.exists() or built.read_text("utf-8") != contents:
        shutil.rmtree(folder, ignore_errors=True)
        _run(sys.executable, "-m", "venv", "--without-pip", str(folder))
        python = str(folder / "bin" / "python")
        wanted = [package.replace(PACKAGE, _wheel(), 1) for package in installed]
        _run(*_PIP, "--python", python, "install", "--quiet", "--no-compile", *wanted)
        built.write_text(contents, "utf-8")
    return folder / "bin"


@functools.cache
def _wheel() -> str:
    """Build this library as people get it; return the path of the file."""
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="wheel-", dir=CACHE))
    atexit.register(shutil.rmtree, folder)
    _run(*_PIP, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    (wheel,) = folder.glob("*.whl")
    return str(wheel)


def _contents() -> str:
    """Return a digest of what the built package holds."""
    digest = hashlib.sha256(sys.version.encode())
    for path in [ROOT / "pyproject.toml", *sorted((ROOT / "otel_aioprom").rglob("*.py"))]:
        digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
