"""Import all that the installed distribution offers, and say where it was found.

Run it with ``python -I`` in a venv that holds nothing but the wheel and what it depends on.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import otel_aioprom

CHECKOUT = Path(__file__).resolve().parent.parent


def find_fault() -> str | None:
    """Say what is wrong with the installed package, or ``None``."""
    if Path(otel_aioprom.__file__).is_relative_to(CHECKOUT / "otel_aioprom"):
        return "the checkout was imported, not the wheel"
    if not files("otel_aioprom").joinpath("py.typed").is_file():
        return "py.typed is missing"
    missing = [name for name in otel_aioprom.__all__ if not hasattr(otel_aioprom, name)]
    return f"names of __all__ that cannot be had: {missing}" if missing else None


if fault := find_fault():
    sys.exit(f"bad wheel: {fault}")
print(f"otel-aioprom {version('otel-aioprom')} works from {Path(otel_aioprom.__file__).parent}")
