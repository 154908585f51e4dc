"""Fixtures of the conformance tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mapping_sdk import Rig


@pytest.fixture
def rigs() -> Iterator[Callable[..., Rig]]:
    """Make rigs that are shut down after the test."""
    made: list[Rig] = []

    def make(**options: Any) -> Rig:
        made.append(Rig(**options))
        return made[-1]

    yield make
    for each in made:
        each.reader.shutdown()


@pytest.fixture
def rig(rigs: Callable[..., Rig]) -> Rig:
    """A rig with nothing chosen."""
    return rigs()
