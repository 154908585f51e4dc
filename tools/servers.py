#!/usr/bin/env python3
"""Bring the real servers that the integration tests talk to.

Prometheus (with promtool), its Pushgateway and VictoriaMetrics come out of Debian's own
packages, an old and a new generation of each: from the release that is installed, and from
unstable. They are unpacked under ``.cache/servers/``; nothing is installed, the system's
package lists stay as they are, and root is not needed.

The mirror is the one that this system is set to; the index of each suite is checked against
Debian's archive keys, and each package against its index, by apt itself. ``servers.json``
maps the names that the tests use to paths below the folder it lies in.

Usage:
    python3 tools/servers.py [--folder DIR] [--refresh]
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / ".cache" / "servers"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
UNSTABLE = "unstable"
INSTALLED = "installed"

# Not every program knows its own version, so the package's is kept beside it.
VERSION_FILE = "package-version"

ATTEMPTS = 3
PAUSE = 5.0
COMMAND_TIMEOUT = 900.0

# Unstable's index expires after a week. A mirror that is brought up to date seldom is still
# good enough for test programs, so an index may be this old, in seconds; apt checks its
# signature all the same.
OLDEST_INDEX = 400 * 24 * 3600

# Settings that say how this system reaches its mirror; all others are our own.
REACH = re.compile(r"Acquire::(?:https?|ftp|Proxy|Retries|Source-Symlinks)\b.*")


@dataclass(frozen=True)
class Package:
    """One package of one suite, and the programs that it is fetched for.

    Attributes:
        folder: Where it is unpacked, below the servers' folder.
        package: Debian's name of it.
        suite: ``INSTALLED`` or ``UNSTABLE``.
        programs: The tests' name of a program → its path in the package. The number in a
            name says the generation; the table printed at the end says the exact one.
    """

    folder: str
    package: str
    suite: str
    programs: Mapping[str, str]


PACKAGES = (
    Package(
        "prometheus-2",
        "prometheus",
        INSTALLED,
        {"prometheus2": "usr/bin/prometheus", "promtool2": "usr/bin/promtool"},
    ),
    Package(
        "prometheus-3",
        "prometheus",
        UNSTABLE,
        {"prometheus3": "usr/bin/prometheus", "promtool3": "usr/bin/promtool"},
    ),
    Package(
        "pushgateway-1.5",
        "prometheus-pushgateway",
        INSTALLED,
        {"pushgateway1.5": "usr/bin/prometheus-pushgateway"},
    ),
    Package(
        "pushgateway-1.11",
        "prometheus-pushgateway",
        UNSTABLE,
        {"pushgateway1.11": "usr/bin/prometheus-pushgateway"},
    ),
    Package(
        "victoriametrics",
        "victoria-metrics",
        UNSTABLE,
        {"victoriametrics": "usr/bin/victoria-metrics"},
    ),
)


class ServersError(Exception):
    """The servers could not be brought; the message says why."""


def run(
    command: Sequence[str], *, cwd: Path | None = None, timeout: float = COMMAND_TIMEOUT
) -> str:
    """Run a command to its end and return what it printed.

    Raises:
        ServersError: It failed, was not there, or took longer than ``timeout`` seconds.
    """
    try:
        done = subprocess.run(  # noqa: S603 (the commands are ours)
            command,
            cwd=cwd,
            timeout=timeout,
            check=False,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServersError(f"{command[0]}: {error}") from error
    if done.returncode:
        raise ServersError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout.strip()}")
    return done.stdout


def run_with_retries(command: Sequence[str], *, cwd: Path | None = None) -> None:
    """Run a command that downloads, again after a pause when it fails."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            run(command, cwd=cwd)
        except ServersError as error:
            if attempt == ATTEMPTS:
                raise
            print(f"attempt {attempt} of {ATTEMPTS} failed: {error}", file=sys.stderr)
            time.sleep(PAUSE)
        else:
            return


# --- the mirror this system uses -------------------------------------------------------


def one_line_sources(text: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield ``(uri, suites, components)`` of each ``deb`` line of a ``.list`` file."""
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[[^\]]*\]\s*)?(\S+)\s+(\S+)\s*([^#]*)", line)
        if match:
            yield match[1], [match[2]], match[3].split()


def deb822_sources(text: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield ``(uri, suites, components)`` of each address in a ``.sources`` file."""
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", kept):
        pairs = re.findall(r"^([A-Za-z-]+):((?:.*)(?:\n[ \t].*)*)", stanza, re.MULTILINE)
        fields = {name.lower(): value.split() for name, value in pairs}
        if "deb" in fields.get("types", []) and fields.get("enabled") != ["no"]:
            for uri in fields.get("uris", []):
                yield uri, fields.get("suites", []), fields.get("components", [])


def installed_release() -> str:
    """Return the code name of the release that runs here."""
    text = Path("/etc/os-release").read_text(encoding="utf-8")
    match = re.search(r'^VERSION_CODENAME="?([a-z]+)', text, re.MULTILINE)
    if not match or not re.search(r'^ID="?debian"?$', text, re.MULTILINE):
        raise ServersError("this is not Debian; set PROMETHEUS_BIN and its kin instead")
    return match[1]


def system_mirror(release: str, etc: Path = Path("/etc/apt")) -> str:
    """Return the address that this system takes the release's packages from."""
    parts = etc / "sources.list.d"
    for path in [etc / "sources.list", *sorted(parts.glob("*.list"))]:
        if path.is_file():
            for uri, suites, components in one_line_sources(path.read_text(encoding="utf-8")):
                if release in suites and "main" in components:
                    return uri
    for path in sorted(parts.glob("*.sources")):
        for uri, suites, components in deb822_sources(path.read_text(encoding="utf-8")):
            if release in suites and "main" in components:
                return uri
    raise ServersError(f"no source of {release} main under {etc}")


# --- apt with folders of its own -------------------------------------------------------


class Apt:
    """``apt-get`` that reads and writes below one folder only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.release = installed_release()
        self.config = folder / "apt.conf"

    def set_up(self) -> None:
        """Write the sources and settings, and make the folders that apt expects."""
        if not KEYRING.is_file():
            raise ServersError(f"{KEYRING} is missing: install debian-archive-keyring")
        for part in ("lists/partial", "archives/partial", "parts"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").touch()
        (self.folder / "own.sources").write_text(self._sources(), encoding="utf-8")
        self.config.write_text(self._settings(), encoding="utf-8")

    def _sources(self) -> str:
        return (
            f"Types: deb\nURIs: {system_mirror(self.release)}\n"
            f"Suites: {self.release} {UNSTABLE}\nComponents: main\nSigned-By: {KEYRING}\n"
            f"Valid-Until-Min: {OLDEST_INDEX}\n"
        )

    def _settings(self) -> str:
        reach = [line for line in run(["apt-config", "dump"]).splitlines() if REACH.match(line)]
        own = {
            "Dir::Etc::sourcelist": self.folder / "own.sources",
            "Dir::Etc::sourceparts": self.folder / "parts",
            "Dir::Etc::parts": self.folder / "parts",  # no hooks of the system
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": self.folder / "parts",
            "Dir::State": self.folder,
            "Dir::State::lists": self.folder / "lists",
            "Dir::State::status": self.folder / "status",
            "Dir::Cache": self.folder,
            "Dir::Cache::archives": self.folder / "archives",
            # A root's apt would hand downloads to a user who may not enter this folder.
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Acquire::PDiffs": "false",
            "Acquire::Retries": "3",
            "Acquire::http::Timeout": "60",
            "Acquire::AllowInsecureRepositories": "false",
        }
        return "\n".join([*reach, *(f'{name} "{value}";' for name, value in own.items()), ""])

    def get(self, *arguments: str, cwd: Path | None = None) -> None:
        """Run ``apt-get`` with these settings, which it reads before any of the system's."""
        command = ["env", f"APT_CONFIG={self.config}", "apt-get", "--quiet", *arguments]
        run_with_retries(command, cwd=cwd)

    def unpack(self, package: str, suite: str, target: Path) -> None:
        """Download one package of a suite and unpack it into ``target``."""
        release = self.release if suite == INSTALLED else suite
        archives = self.folder / "archives" / target.name / package
        shutil.rmtree(archives, ignore_errors=True)
        archives.mkdir(parents=True)
        self.get("download", f"{package}/{release}", cwd=archives)
        (archive,) = archives.glob("*.deb")
        target.mkdir(parents=True, exist_ok=True)
        run(["dpkg", "-x", str(archive), str(target)])
        version = run(["dpkg-deb", "--field", str(archive), "Version"])
        (target / VERSION_FILE).write_text(version, encoding="utf-8")


# --- programs that run -----------------------------------------------------------------


def check_runs(program: Path) -> None:
    """See that a program starts here.

    Unstable's programs are made for newer systems. These get along with an older C library;
    should one not, this says so when it is brought, instead of each test that starts it.

    Raises:
        ServersError: It does not, with what it said.
    """
    run([str(program), "--version"], timeout=60)


def bring_package(package: Package, folder: Path, apt: Apt) -> dict[str, str]:
    """Unpack one package; return its programs' names and their paths below ``folder``."""
    target = folder / package.folder
    shutil.rmtree(target, ignore_errors=True)
    apt.unpack(package.package, package.suite, target)
    paths = {}
    for name, inside in package.programs.items():
        program = target / inside
        if not program.exists():
            # Newer releases keep promtool in a package that is called like the program.
            apt.unpack(program.name, package.suite, target)
        check_runs(program)
        paths[name] = str(program.relative_to(folder))
    return paths


def bring(folder: Path) -> dict[str, str]:
    """Download and unpack everything.

    Returns:
        The tests' name of each program → its path below ``folder``.
    """
    apt = Apt(folder / "apt")
    apt.set_up()
    apt.get("update")
    paths: dict[str, str] = {}
    for package in PACKAGES:
        paths |= bring_package(package, folder, apt)
    # The indexes and archives are large, and of no use once the programs are here.
    shutil.rmtree(apt.folder)
    return paths


def recorded(folder: Path) -> dict[str, str]:
    """Return what an earlier run brought, or nothing if any of it is missing."""
    try:
        paths: dict[str, str] = json.loads((folder / "servers.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    wanted = {name for package in PACKAGES for name in package.programs}
    whole = set(paths) == wanted and all((folder / path).is_file() for path in paths.values())
    return paths if whole else {}


def print_table(folder: Path, paths: Mapping[str, str]) -> None:
    """Print program, version and path, a line each, and see that each one starts."""
    print(f"{'program':<16} {'version':<20} path")
    for name, path in paths.items():
        check_runs(folder / path)
        version = (folder / Path(path).parts[0] / VERSION_FILE).read_text(encoding="utf-8")
        print(f"{name:<16} {version.strip():<20} {folder / path}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Bring what is missing and print a table of it.

    Returns:
        0, or 1 when something could not be brought.
    """
    parser = argparse.ArgumentParser(description="Bring the servers for the integration tests.")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--refresh", action="store_true", help="fetch everything anew")
    options = parser.parse_args(arguments)
    folder = options.folder.resolve()
    try:
        paths = {} if options.refresh else recorded(folder)
        if not paths:
            paths = bring(folder)
            text = json.dumps(paths, indent=2) + "\n"
            (folder / "servers.json").write_text(text, encoding="utf-8")
        print_table(folder, paths)
    except ServersError as error:
        print(f"servers: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
