"""The short run of what ``python -m tests.fuzz`` does at length."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzzing import Fuzzer

TARGETS = ("connection", "headers", "asgi", "wsgi", "formats", "credentials", "web configuration")


@pytest.fixture(scope="module")
def fuzzer() -> Iterator[Fuzzer]:
    """All targets."""
    made = Fuzzer()
    yield made
    made.close()


@pytest.mark.parametrize("target", TARGETS)
def test_whatever_comes_there_is_an_answer(fuzzer: Fuzzer, target: str) -> None:
    """No exception leaves the handler, no status is 500, and what is written can be read."""
    chance = random.Random(target)  # noqa: S311 - no secret
    for _ in range(300):
        fuzzer.run(target, chance.randbytes(chance.randrange(200)))


@pytest.mark.parametrize("target", TARGETS)
def test_what_hypothesis_thinks_of_is_answered_too(fuzzer: Fuzzer, target: str) -> None:
    """Short inputs, and those that shrink to something."""

    @settings(max_examples=60, deadline=None)
    @given(st.binary(max_size=120))
    def run(data: bytes) -> None:
        fuzzer.run(target, data)

    run()


def test_the_targets_are_all_there(fuzzer: Fuzzer) -> None:
    """None is forgotten here."""
    assert tuple(fuzzer.targets) == TARGETS
