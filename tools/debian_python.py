"""Bring a newer CPython than the system has, for the tests: Debian unstable's own packages, unpacked.

Nothing is installed: the packages are unpacked below ``.cache``, with the C library that they need, and the interpreter is
told to load its libraries from there. apt fetches them from the mirror that this system uses, and checks its signatures.

Usage:
    python3 tools/debian_python.py VERSION [--folder DIR]
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from servers import INSTALLED, UNSTABLE, Apt, ServersError, run

FOLDER = Path(__file__).resolve().parent.parent / ".cache" / "pythons"

INTERPRETER = (
    "python{0}",
    "python{0}-minimal",
    "python{0}-venv",
    "libpython{0}-stdlib",
    "libpython{0}-minimal",
    "python3-pip-whl",
)
LIBRARIES = (
    "libc6",
    "libgcc-s1",
    "libstdc++6",
    "libssl3t64",
    "zlib1g",
    "libexpat1",
    "libffi8",
    "libsqlite3-0",
    "liblzma5",
    "libbz2-1.0",
    "libzstd1",
    "libuuid1",
    "libncursesw6",
    "libtinfo6",
    "libreadline8t64",
)
TOOL = "patchelf"
WHEELS = "/usr/share/python-wheels"
PROBE = "import ctypes, ensurepip, sqlite3, ssl, sys; print(sys.version.split()[0])"


def bring(version: str, folder: Path) -> Path:
    """Unpack an interpreter.

    Returns:
        The path of its program, good for ``make test PYTHON=…``.

    Raises:
        ServersError: A package is not there, or the interpreter does not run.
    """
    shutil.rmtree(folder, ignore_errors=True)
    apt = Apt(folder / "apt")
    apt.set_up()
    apt.get("update")
    for name in (*INTERPRETER, *LIBRARIES):
        apt.unpack(name.format(version), UNSTABLE, folder)
    apt.unpack(TOOL, INSTALLED, folder / "tools")  # unstable's breaks what it writes
    shutil.rmtree(apt.folder)
    program = folder / "usr" / "bin" / f"python{version}"
    use_own_libraries(program, folder)
    use_own_wheels(folder / "usr" / "lib" / f"python{version}", folder)
    return program


def use_own_libraries(program: Path, folder: Path) -> None:
    """Make a program load the C library and all others from the folder."""
    (loader,) = folder.glob("usr/lib/*/ld-linux*.so.*")
    patch = [str(folder / "tools" / "usr" / "bin" / TOOL), "--set-interpreter", str(loader)]
    run([*patch, "--force-rpath", "--set-rpath", str(loader.parent), str(program)])


def use_own_wheels(library: Path, folder: Path) -> None:
    """Make ``ensurepip`` find Debian's wheels below the folder."""
    for path in [*library.rglob("*.py"), *library.rglob("*.json")]:
        content = b"" if path.is_symlink() else path.read_bytes()  # some lead out of the folder
        if WHEELS.encode() in content:
            path.write_bytes(content.replace(WHEELS.encode(), f"{folder}{WHEELS}".encode()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Bring an interpreter unless it is there, and print its path.

    Returns:
        0, or 1 when it could not be brought.
    """
    parser = argparse.ArgumentParser(description="Bring a CPython of Debian unstable.")
    parser.add_argument("version", help="such as 3.14")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args(arguments)
    folder = options.folder.resolve() / options.version
    program = folder / "usr" / "bin" / f"python{options.version}"
    try:
        try:
            found = run([str(program), "-c", PROBE])
        except ServersError:
            program = bring(options.version, folder)
            found = run([str(program), "-c", PROBE])
    except ServersError as error:
        print(f"python {options.version}: {error}", file=sys.stderr)
        return 1
    print(f"{found.strip()} {program}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
