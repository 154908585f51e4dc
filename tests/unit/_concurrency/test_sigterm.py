"""SIGTERM in processes: who is told of it, in which process, and how the process ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import pytest

from oracles import DEADLINE
from otel_aioprom._concurrency import sigterm as module
from otel_aioprom._concurrency.sigterm import SigtermHandler

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")

WAITERS = {
    "periodic": "run_periodically(act, act, 3600, exit_timeout=5, on_sigterm=True)",
    "pusher": "Pusher('j', 'http://127.0.0.1:9').run(CollectorRegistry(), 3600)",
    "writer": "RemoteWriter('http://127.0.0.1:9').run(CollectorRegistry(), 3600)",
}
"""Whatever waits for the signal in the parent."""

FORKS = """
import asyncio, logging, multiprocessing, os, signal, sys, time
from otel_aioprom import CollectorRegistry, Pusher
from otel_aioprom._concurrency.periodic import run_periodically
from otel_aioprom.remote_write import RemoteWriter

logging.disable()
fork = multiprocessing.get_context("fork")

async def act():
    pass

def terminated_process():
    child = fork.Process(target=time.sleep, args=(60,))
    child.start()
    child.terminate()
    child.join(5)
    status = child.exitcode
    child.kill()
    if status is None:
        sys.exit("the child lives on")
    return status

def many_processes():
    # Signalled at once, wherever each of them is in its fork.
    return {terminated_process() for _ in range(50)} == {-signal.SIGTERM} and -signal.SIGTERM

def waiting_child():
    # The child waits for the signal on its own account.
    read, write = os.pipe()
    child = fork.Process(target=wait_in_child, args=(write,))
    child.start()
    assert os.read(read, 5) == b"begun"
    child.terminate()
    child.join(5)
    assert os.read(read, 4) == b"last"
    status = child.exitcode
    child.kill()
    return status

def wait_in_child(write):
    async def act():
        os.write(write, b"begun")
        end = time.perf_counter() + 0.3
        while time.perf_counter() < end:  # the signal comes while Python code runs
            pass
    async def last(): os.write(write, b"last")
    asyncio.run(run_periodically(act, last, 3600, exit_timeout=5, on_sigterm=True))

async def main():
    waiting = asyncio.ensure_future(WAITER)
    while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        await asyncio.sleep(0.01)
    here = sys.argv[1] == "here"
    for scene in (terminated_process, many_processes, waiting_child):
        print(scene.__name__, scene() if here else await asyncio.to_thread(scene), flush=True)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

asyncio.run(main())
"""

WAITS = """
import asyncio, os
from otel_aioprom._concurrency.periodic import run_periodically

async def act():
    print("begun", flush=True)

async def last():
    print("last", flush=True)

if os.environ.get("IGNORED"):
    os.kill = lambda *_: None  # as the kernel does for PID 1
asyncio.run(run_periodically(act, last, 3600, exit_timeout=5, on_sigterm=True))
print("lives on", flush=True)
"""

ABANDONS = """
import asyncio, atexit, logging, sys, time
from otel_aioprom import CollectorRegistry, Pusher
from otel_aioprom._concurrency.periodic import run_periodically
from otel_aioprom.pusher import job_metrics
from otel_aioprom.remote_write import RemoteWriter

logging.disable()

async def act():
    pass

async def job():
    async with job_metrics("j", "http://127.0.0.1:9"):
        began.set()
        await asyncio.sleep(3600)

async def begin():
    global began, waiting
    began = asyncio.Event()
    waiting = asyncio.ensure_future(WAITER)
    if sys.argv[1] == "job":
        await began.wait()
    else:
        await asyncio.sleep(0.01)

loop = asyncio.new_event_loop()
loop.run_until_complete(begin())
if sys.argv[2] == "closed":
    loop.close()
atexit.register(print, "ends")
print("waits", flush=True)
for _ in range(6000):
    time.sleep(0.01)  # a signal right before a long sleep would be handled after it
print("lives on")
"""


@pytest.mark.parametrize("waiter", [*WAITERS, "job"])
@pytest.mark.parametrize("state", ["stopped", "closed"])
def test_a_loop_that_does_not_run_keeps_no_process_alive(waiter: str, state: str) -> None:
    """Whoever waits for the signal there is not told of it: the code that runs instead ends."""
    program = ABANDONS.replace("WAITER", WAITERS.get(waiter, "job()"))
    arguments = [sys.executable, "-W", "ignore", "-c", program, waiter, state]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "waits\n"
        running.terminate()
        try:
            output, _ = running.communicate(timeout=DEADLINE)
        finally:
            running.kill()

    assert (running.returncode, output) == (128 + signal.SIGTERM, "ends\n")


@pytest.mark.parametrize("waiter", WAITERS)
@pytest.mark.parametrize("thread", ["here", "elsewhere"])
def test_a_forked_child_ends_by_the_signal(waiter: str, thread: str) -> None:
    """While its parent waits for the signal, whichever of the parent's threads forks.

    A waiter of its own is told, also where the interpreter misses the signal.
    """
    program = FORKS.replace("WAITER", WAITERS[waiter])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, thread],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    scenes = ("terminated_process", "many_processes", "waiting_child")
    assert done.stdout.splitlines() == [f"{scene} {-signal.SIGTERM}" for scene in scenes]
    assert (done.returncode, done.stderr) == (0, "")


def ended(*command: str, **environment: str) -> tuple[int, str]:
    """Run a program that waits for the signal, send it, and return exit status and output."""
    arguments = [*command, sys.executable, "-c", WAITS]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "begun\n"
        if command:  # the program is a child of the command
            children = f"/proc/{program.pid}/task/{program.pid}/children"
            with open(children) as file:  # noqa: PTH123 - short
                os.kill(int(file.read()), signal.SIGTERM)
        else:
            program.send_signal(signal.SIGTERM)
        output, _ = program.communicate(timeout=DEADLINE)
    return program.returncode, output


def test_a_process_that_the_signal_does_not_end_ends_all_the_same() -> None:
    """After the last call, with the status that shells report; otherwise it would live on without pushes."""
    assert ended(IGNORED="1") == (128 + signal.SIGTERM, "last\n")


def can_unshare() -> bool:
    """Return whether a process may be PID 1 of a namespace of its own here."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return False
    command = ["unshare", "--user", "--pid", "--fork", "true"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not can_unshare(), reason="needs namespaces")
def test_pid_1_of_a_container_ends() -> None:
    """The kernel keeps the signal from a PID 1 without a handler, so the process has to end itself."""
    status, output = ended("unshare", "--user", "--pid", "--fork")

    assert (status, output) == (128 + signal.SIGTERM, "last\n")


def test_a_signal_right_after_the_fork_is_that_of_the_child(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The child may be signalled before it knows that it is one: nobody is told, and it ends."""
    told: list[str] = []
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(module.os, "kill", lambda *what: sent.append(what))
    handler = SigtermHandler()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    handler.add("k", lambda: bool(told.append("told")))
    try:
        monkeypatch.setattr(handler, "_pid", -1)
        monkeypatch.setattr(module.os, "_exit", lambda status: handler.after_fork_in_child())
        signal.raise_signal(signal.SIGTERM)
        after = signal.getsignal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    assert (told, after) == ([], signal.SIG_DFL)
    assert sent == [(os.getpid(), signal.SIGTERM)]


def test_a_child_starts_without_the_signal_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A parent that is about to end by the signal does not take its new children along."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(module.os, "kill", lambda *what: sent.append(what))
    handler = SigtermHandler()
    handler.add("parent", lambda: False)
    signal.raise_signal(signal.SIGTERM)
    handler.after_fork_in_child()
    told: list[str] = []
    handler.add("child", lambda: bool(told.append("told")))
    handler.remove("child")

    assert (told, sent) == ([], [])
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
