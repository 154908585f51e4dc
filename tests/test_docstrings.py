"""The examples in docstrings give what they say."""

from __future__ import annotations

import doctest
import pkgutil
from importlib import import_module

import pytest

import otel_aioprom

MODULES = [
    "otel_aioprom",
    *(module.name for module in pkgutil.walk_packages(otel_aioprom.__path__, "otel_aioprom.")),
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name: str) -> None:
    """Each module's, run on their own."""
    assert doctest.testmod(import_module(name)).failed == 0
