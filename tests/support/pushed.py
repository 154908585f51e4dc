"""Registries to push, and helpers for pushed bodies."""

from __future__ import annotations

from gateway import Push
from otel_aioprom._transport.retry import Retry
from otel_aioprom.collectors import Gauge
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render

QUICK = Retry(attempts=4, first_wait=0.001, longest_wait=0.001)
LONG = 3600.0
PUSHES = "otel_aioprom_pushes_total"


def levels(*values: float) -> CollectorRegistry:
    """A registry with gauges ``a``, ``b`` and so on."""
    registry = CollectorRegistry()
    for name, value in zip("abcdefgh", values):
        Gauge(name, f"Level {name}.", registry=registry).set({}, value)
    return registry


def own(registry: CollectorRegistry) -> dict[str, float]:
    """The self-metrics of pushes: sample → value, without the destination."""
    found = {}
    for line in render(registry)[0].decode().splitlines():
        if line.startswith("otel_aioprom_push"):
            sample, _, value = line.rpartition(" ")
            name, _, labels = sample.partition("{")
            kept = [each for each in labels.rstrip("}").split(",") if "destination" not in each]
            found[name + "".join(f"{{{each}}}" for each in kept)] = float(value)
    return found


def families_in(push: Push) -> set[str]:
    """Names of the families that a body describes, the library's own not among them."""
    names = {line.split()[2] for line in push.text.splitlines() if line.startswith("# TYPE")}
    return {name for name in names if not name.startswith("otel_aioprom_")}
