"""The exporter in forked children, in which the SDK goes on: nobody overwrites another one's group."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from gateway import Gateway
from oracles import DEADLINE

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

PROGRAM = """
import logging, os, sys, warnings
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics import export as sdk
from otel_aioprom import PushMetricExporter

logging.basicConfig(format="%(levelname)s %(message)s")
warnings.simplefilter("ignore", DeprecationWarning)
options = eval(sys.argv[2])
exporter = PushMetricExporter("j", sys.argv[1], **options)
reader = sdk.PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
provider = MeterProvider([reader], shutdown_on_exit=False)
orders = provider.get_meter("m").create_counter("orders")
orders.add(1)
provider.force_flush()

def forked(work):
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0

def in_child():
    print(os.getpid(), flush=True)
    orders.add(10)
    provider.force_flush()
    forked(in_grandchild)
    provider.force_flush()
    if "shutdown" in sys.argv:
        provider.shutdown()

def in_grandchild():
    print(os.getpid(), flush=True)
    orders.add(100)
    provider.force_flush()

forked(in_child)
provider.force_flush()
"""


def run(gateway: Gateway, options: str, *arguments: str) -> tuple[list[str], list[str]]:
    """Run the program; return the process ids of child and grandchild, and what was logged."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, gateway.url, options, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE,
    )
    return done.stdout.split(), done.stderr.splitlines()


@pytest.mark.parametrize(
    ("options", "group"),
    [
        ("{}", "/metrics/job/j"),
        ("{'grouping_key': {'instance': 'a'}}", "/metrics/job/j/instance/a"),
        ("{'grouping_key': {'pid': 'a'}}", "/metrics/job/j"),
    ],
)
def test_a_forked_child_has_a_group_of_its_own(options: str, group: str) -> None:
    """Its parent's group keeps what the parent has measured; so does a grandchild's."""
    with Gateway() as gateway:
        (child, grandchild), log = run(gateway, options)
    pushed = [
        (each.path, re.findall(r"^orders_total\{.*\} (\d+)$", each.text, re.MULTILINE))
        for each in gateway.requests
    ]
    own = group + ("/pid/a" if "pid" in options else "")

    assert pushed == [
        (own, ["1"]),
        (f"{group}/pid/{child}", ["11"]),
        (f"{group}/pid/{grandchild}", ["111"]),
        (f"{group}/pid/{child}", ["11"]),
        (own, ["1"]),
    ]
    assert [line.partition(" was forked")[0] for line in log] == [
        f"WARNING process {child}",
        f"WARNING process {grandchild}",
    ]
    assert f"a group of its own, {gateway.url}{group}/pid/{child}; create the exporter" in log[0]


def test_a_forked_child_deletes_its_own_group() -> None:
    """When it shuts down: its parent's group is not its to delete."""
    with Gateway() as gateway:
        (child, _), _ = run(gateway, "{'delete_on_shutdown': True}", "shutdown")
    deleted = [each.path for each in gateway.requests if each.method == "DELETE"]

    assert deleted == [f"/metrics/job/j/pid/{child}"]
