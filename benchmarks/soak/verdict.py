"""What the soak has shown: tables, and each bound that is broken."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.soak.readings import Reading, growth

if TYPE_CHECKING:
    from benchmarks.soak.loop import Holds
    from benchmarks.soak.metrics import Metrics
    from benchmarks.soak.servers import Server
    from benchmarks.soak.writing import LossLog, Writing

LONGEST_HOLD = 0.020
"""Seconds for which the loop's own thread may hold it."""
_BAD_ANSWERS = ("500", "cut off")


@dataclass
class Soak:
    """All parts of a run, and what they have shown.

    Attributes:
        answers: Of the endpoint, by kind.
        pages: What endpoint and gateway showed at the end.
        readings: Before, during and after the run.
    """

    metrics: Metrics
    writings: list[Writing]
    store: Server
    gateway: Server
    holds: Holds
    log: LossLog
    answers: dict[str, int] = field(default_factory=dict)
    pages: dict[str, bytes] = field(default_factory=dict)
    readings: list[Reading] = field(default_factory=list)


def report(soak: Soak) -> int:
    """Print what has happened, and return the exit status; the store must be there still."""
    print(f"\nanswers: {soak.answers}")
    print(f"outages: {soak.store.outages} of Prometheus, {soak.gateway.outages} of the Pushgateway")
    print(f"recorded: {soak.metrics.totals}; lines of the log: {soak.log.lines}")
    pushes = {
        labels["code"]: int(n)
        for labels, n in soak.metrics.registry.pushes.requests.get_all()
        if labels["destination"] == soak.gateway.url
    }
    print(f"pushes to the Pushgateway by status: {pushes}")
    _print_holds(soak.holds)
    print("\n| writer | collections | samples made | sent | refused | dropped | lost | logged |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for each in soak.writings:
        numbers = [each.collections, each.made, *each.outcomes().values()]
        numbers.append(soak.log.samples.get(each.destination, 0))
        print(f"| {each.name} |" + "".join(f" {number:,} |" for number in numbers))
    problems = [*growth(soak.readings), *_wrong_answers(soak), *_losses(soak)]
    if soak.holds.longest > LONGEST_HOLD:
        problems.append(f"the loop was held for {soak.holds.longest * 1e3:.1f} ms")
    print("\n" + ("\n".join(problems) or "every bound holds"), flush=True)
    return 1 if problems else 0


def _print_holds(holds: Holds) -> None:
    print(f"\n{holds.iterations:,} iterations of the loop; the longest:\n")
    print("| at, s | ms | garbage collection, ms | longest callback |\n|---:|---:|---:|---|")
    for hold in sorted(holds.worst, reverse=True):
        print(
            f"| {hold.when:.0f} | {hold.seconds * 1e3:.1f} | {hold.garbage * 1e3:.1f} | {hold.callback} |"
        )


def _wrong_answers(soak: Soak) -> list[str]:
    found = [
        f"answer {kind}: {soak.answers[kind]} times"
        for kind in _BAD_ANSWERS
        if kind in soak.answers
    ]
    for where, page in soak.pages.items():
        shown = _numbers(page)
        for key, value in soak.metrics.truth().items():
            if shown.get(key) != value:
                found.append(f"{where}: {key} is {value}, {shown.get(key)} is shown")
    return found


def _numbers(page: bytes) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels.get("thread", "")): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
        if "le" not in sample.labels
    }


def _losses(soak: Soak) -> list[str]:
    """Compare what the writers say with their log, and with what the store has."""
    found = []
    series = soak.store.query('count by (writer) (last_over_time({writer!=""}[1d]))')
    stored = soak.store.samples()
    times = soak.store.query("min by (writer) (count_over_time(soak_level[1d]))")
    for each in soak.writings:
        found += each.problems(soak.log)
        name, outcomes = each.name, each.outcomes()
        have = stored.get(name, 0)
        print(f"\nstored of {name}: {have:,.0f} samples of {series.get(name, 0):,.0f} series")
        ends = int(
            series.get(name, 0)
        )  # each series ends with a stale marker, which is no sample there
        if not outcomes["sent"] - ends <= have <= each.made - ends:
            found.append(f"{name}: {outcomes['sent']:,} samples sent, {have:,.0f} stored")
        if outcomes["sent"] == each.made and times.get(name) != each.collections:
            found.append(f"{name}: {each.collections} collections, {times.get(name)} stored")
        for thread, total in enumerate(soak.metrics.totals):
            last = soak.store.query(f'last_over_time(soak_total{{thread="{thread}"}}[1d])')
            if last.get(name) != total:
                found.append(f"{name}: soak_total of {thread} is {total}, stored {last.get(name)}")
    return found
