"""Draw the rooms of the package: which folders there are, what lives in each, and who may import whom.

The picture and the table of docs/explanation/architecture.md, and docs/reference/modules.md, are made from the contracts of
import-linter in pyproject.toml and from the first sentences of the modules' docstrings.

Usage:
    python tools/rooms.py [--check]
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "otel_aioprom"
ARCHITECTURE = ROOT / "docs" / "explanation" / "architecture.md"
MODULES = ROOT / "docs" / "reference" / "modules.md"
_CONTRACT = re.compile(
    r'type = "layers", containers = \["otel_aioprom\.?([\w.]*)"\].*?layers = \[(.*?)\] }', re.DOTALL
)
_MARKED = re.compile(r"(<!-- made by tools/rooms\.py -->\n).*?(<!-- end -->\n)", re.DOTALL)


def floors() -> dict[str, list[list[str]]]:
    """Return folder → its floors, the highest first; a floor is a list of modules and folders."""
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return {
        folder: [floor.split(" | ") for floor in re.findall(r'"([^"]+)"', layers)]
        for folder, layers in _CONTRACT.findall(settings)
    }


def about(name: str) -> str:
    """Return the first sentence of a module's or folder's docstring, its name being dotted below the package."""
    path = PACKAGE.joinpath(*name.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(doc.partition("\n\n")[0].split()).rstrip(".").replace("``", "`")


def drawing() -> str:
    """Return the picture of the rooms and the table of what lives in each."""
    plan = floors()
    picture = [f" {' | '.join(floor)}" for floor in plan[""]]
    rows = ["| room | what lives there | inside, top down |", "|---|---|---|"]
    rows += [row for floor in plan[""] for name in floor for row in _rows(name, plan)]
    return "\n".join(["", "```text", *picture, "```", "", *rows, ""])


def _rows(name: str, plan: dict[str, list[list[str]]]) -> list[str]:
    path = PACKAGE.joinpath(*name.split("."))
    spelled = f"`{name.replace('.', '/')}{'/' if path.is_dir() else '.py'}`"
    levels = plan.get(name, [_modules(path)] if path.is_dir() else [])
    inside = "<br>".join([", ".join([f"`{each}`" for each in level]) for level in levels])
    rows = [f"| {spelled} | {about(name)} | {inside} |"]
    below = [f"{name}.{each}" for level in levels for each in level]
    return rows + [
        row
        for each in below
        if PACKAGE.joinpath(*each.split(".")).is_dir()
        for row in _rows(each, plan)
    ]


def _modules(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")


def index() -> str:
    """Return the page that lists every module."""
    lines = [
        "# Modules",
        "",
        "Every module of the package, by folder. A folder or module whose name begins with an underscore is internal.",
        "Users import from the package root, or from the folders; see [API](api.md).",
    ]
    folders = sorted(path.parent for path in PACKAGE.rglob("__init__.py"))
    for folder in folders:
        name = ".".join(folder.relative_to(PACKAGE).parts)
        title = f"otel_aioprom/{folder.relative_to(PACKAGE).as_posix()}/".replace("/./", "/")
        lines += ["", f"## `{title}`", "", f"{about(name) if name else about('__init__')}.", ""]
        lines += ["| module | what lives there |", "|---|---|"]
        lines += [
            f"| `{each}` | {about(f'{name}.{each}'.lstrip('.'))} |" for each in _modules(folder)
        ]
    return "\n".join([*lines, ""])


def pages() -> dict[Path, str]:
    """Return page → its text as it should be."""
    text = ARCHITECTURE.read_text(encoding="utf-8")
    marked = _MARKED.sub(lambda found: f"{found[1]}{drawing()}{found[2]}", text)
    return {ARCHITECTURE: marked, MODULES: index()}


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` tell whether they are up to date."""
    stale = {
        path: text
        for path, text in pages().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    }
    if "--check" in arguments:
        return bool(stale)
    for path, text in stale.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
