"""A program that is killed in the middle of writing, and its next run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import Answer, Gateway
from oracles import DEADLINE
from receiver import TAKEN_1, url_of, values

PROGRAM = """
import asyncio, sys
from otel_aioprom import CollectorRegistry, Gauge, RemoteWriter

async def main():
    url, spool, first, last = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    registry = CollectorRegistry()
    gauge = Gauge("g", "Level.", registry=registry)
    async with RemoteWriter(url, spool=spool) as writer:
        for value in range(first, last):
            gauge.set({}, value)
            await writer.write(registry)
            print(value, flush=True)
        await writer.flush(30)

asyncio.run(main())
"""


def run(url: str, spool: Path, first: int, last: int) -> subprocess.Popen[str]:
    """Start the program."""
    words = [sys.executable, "-W", "error", "-c", PROGRAM, url, str(spool), str(first), str(last)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(os.name != "posix", reason="there is no such signal")
@pytest.mark.parametrize("answer", [TAKEN_1, Answer(503)])
def test_a_killed_program_loses_what_is_in_flight_at_most(tmp_path: Path, answer: Answer) -> None:
    """What it has written is in the folder, and sent by the next run, in order, before what comes new."""
    with Gateway(default=answer) as gateway:
        with run(url_of(gateway), tmp_path / "spool", 0, 1_000_000) as program:
            assert program.stdout is not None
            told = [int(program.stdout.readline()) for _ in range(60)]
            program.send_signal(signal.SIGKILL)
            rest, _ = program.communicate(timeout=DEADLINE)
        told += [int(line) for line in rest.splitlines() if line]
        gateway.default = TAKEN_1
        with run(url_of(gateway), tmp_path / "spool", 2_000_000, 2_000_003) as second:
            second.communicate(timeout=30)
    found = values(gateway, "g")
    missing = set(told) - set(found)

    assert program.returncode == -signal.SIGKILL
    assert second.returncode == 0
    assert len(missing) <= 1
    once = list(dict.fromkeys(found))
    assert once == sorted(once)
    assert once[-3:] == [2_000_000, 2_000_001, 2_000_002]
    assert len(list((tmp_path / "spool").glob("*.snappy"))) == 0
