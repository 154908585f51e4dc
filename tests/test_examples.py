"""Every example runs as a program of its own, is scraped, and stops cleanly."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from servers import answers, fetch, free_port, parse_with_prometheus_client, wait_until

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
END_DEADLINE = 15.0
MAKE = shutil.which("make")

# Each quick start, and the samples that it must show.
QUICK_STARTS = {
    "both.py": {"jobs_total", "queue_depth"},
    "existing_app.py": {"greetings_total"},
    "quickstart_native.py": {"http_requests_total", "http_request_duration_seconds_count"},
    "quickstart_otel.py": {"orders_total"},
}


@contextlib.contextmanager
def example(name: str, arguments: Sequence[object] = ()) -> Iterator[subprocess.Popen[str]]:
    """Run an example in a child process; kill it if the test has not ended it."""
    process = start(name, arguments)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        process.wait()


def start(name: str, arguments: Sequence[object]) -> subprocess.Popen[str]:
    """Start an example so that Ctrl-C reaches it, as it would in a terminal."""
    # A child inherits that SIGINT is ignored, which it is in a shell's background jobs.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONWARNINGS": "error", "PYTHONUNBUFFERED": "1"},
        )
    finally:
        signal.signal(signal.SIGINT, before)


def wait_for_page(process: subprocess.Popen[str], url: str) -> None:
    """Wait until a page of the example answers."""

    def is_there() -> bool:
        if process.poll() is not None:
            _, errors = process.communicate()
            raise RuntimeError(f"the example ended at its start:\n{errors}")
        return answers(url)

    wait_until(is_there, 30.0, url)


def end(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str, str]:
    """Send a signal; return the exit code, and what was printed to either side."""
    process.send_signal(number)
    output, errors = process.communicate(timeout=END_DEADLINE)
    return process.returncode, output, errors


def sample_names(url: str) -> set[str]:
    """Scrape once, through the foreign parser."""
    body, _ = fetch(url)
    families = parse_with_prometheus_client(body)
    return {sample.name for family in families for sample in family.samples}


def addresses(process: subprocess.Popen[str]) -> dict[str, str]:
    """Read the addresses that the shop prints, up to the line that says how to stop it."""
    assert process.stdout is not None
    found: dict[str, str] = {}
    for line in process.stdout:
        if line.startswith("Ctrl-C"):
            return found
        name, _, url = line.partition(" ")
        found[name] = url.strip()
    assert process.stderr is not None
    raise AssertionError(f"the shop did not start: {process.stderr.read()}")


@pytest.mark.parametrize("name", QUICK_STARTS)
def test_a_quick_start_serves_its_metrics(name: str) -> None:
    """A quick start serves what it measures, and ends without a word on Ctrl-C."""
    port = free_port()
    with example(name, [port]) as process:
        wait_for_page(process, f"http://127.0.0.1:{port}/")
        names = sample_names(f"http://127.0.0.1:{port}/metrics")
        code, _, errors = end(process, signal.SIGINT)

        assert QUICK_STARTS[name] <= names
        assert code == 0
        assert errors == ""


def test_every_quick_start_is_tested() -> None:
    """No example is forgotten here."""
    assert {path.name for path in EXAMPLES.glob("*.py")} == {*QUICK_STARTS, "shop.py"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_shop_has_traffic_and_stops_cleanly(number: signal.Signals) -> None:
    """The shop prints real addresses, measures its customers, and ends on either signal."""
    with example("shop.py", ["--port", 0, "--shop-port", 0]) as process:
        urls = addresses(process)
        assert b"shop" in fetch(urls["shop"])[0]
        wait_until(
            lambda: (
                {"shop_revenue_EUR_total", "http_requests_total"} <= sample_names(urls["metrics"])
            ),
            30.0,
            "the first samples",
        )
        code, output, errors = end(process, number)

        assert code == 0
        assert output == "stopped\n"
        assert errors == ""


def test_the_shop_shows_every_kind_of_metric() -> None:
    """OpenTelemetry instruments and native collectors stand in one response."""
    with example("shop.py", ["--port", 0, "--shop-port", 0, "--customers", 10]) as process:
        urls = addresses(process)
        wanted = {
            "http_request_duration_seconds_bucket",
            "http_requests_in_progress",
            "http_requests_total",
            "http_response_size_bytes",
            "shop_carts",
            "shop_orders_total",
            "shop_product_price_EUR",
            "shop_revenue_EUR_total",
            "shop_search_duration_seconds_bucket",
            "shop_stock",
            "shop_warehouse_fill_ratio",
            "target_info",
        }
        missing = set(wanted)

        def none_is_missing() -> bool:
            missing.difference_update(sample_names(urls["metrics"]))
            return not missing

        wait_until(none_is_missing, 30.0, "every kind of metric")


def test_a_taken_metrics_port_is_told_in_one_line() -> None:
    """When another program has the metrics' port, the shop says so and exits with 1."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with example("shop.py", ["--port", port, "--shop-port", 0]) as process:
            output, errors = process.communicate(timeout=30)

    assert process.returncode == 1
    assert output == ""
    assert len(errors.splitlines()) == 1
    assert str(port) in errors


@pytest.mark.skipif(MAKE is None, reason="needs make")
@pytest.mark.parametrize("code", [0, 1, 2])
def test_make_demo_fails_if_the_demo_fails(tmp_path: Path, code: int) -> None:
    """Scripts and people learn of a taken port from the exit status too; here the demo is a stub."""
    stub = tmp_path / "python"
    stub.write_text(f"#!/bin/sh\nexit {code}\n")
    stub.chmod(0o755)
    built = f"{tmp_path}/package"  # as if the package were installed
    done = subprocess.run(
        [str(MAKE), "-o", built, f"BIN={tmp_path}", f"STAMPS={tmp_path}", "demo"],
        cwd=EXAMPLES.parent,
        capture_output=True,
        text=True,
        timeout=END_DEADLINE,
        check=False,
    )

    assert (done.returncode != 0) == (code != 0), done.stderr


def test_a_taken_shop_port_moves_the_shop() -> None:
    """When another program has the shop's port, the shop takes a free one."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with example("shop.py", ["--port", 0, "--shop-port", port]) as process:
            urls = addresses(process)
            body, _ = fetch(urls["shop"])

    assert str(port) not in urls["shop"]
    assert body.startswith(b"The shop")
