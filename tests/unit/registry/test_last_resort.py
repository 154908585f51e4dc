"""Warnings reach stderr in a program that has set up no logging, whatever an instrumentation has added."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from otel_aioprom.registry.last_resort import LastResortHandler, install_last_resort

DEADLINE = 30.0
PROGRAM = """
import logging
import sys

from otel_aioprom import CollectorRegistry, Service

class Leading(logging.Handler):  # where opentelemetry-instrumentation-logging leads to if nothing exports logs
    def emit(self, record):
        pass

Leading.__module__ = "opentelemetry.instrumentation.logging.handler"
{setup}
Service(CollectorRegistry())
Service(CollectorRegistry())
log = logging.getLogger("otel_aioprom.service.threaded")
log.warning("a warning of %d", 7)
log.info("an information")
"""


@pytest.mark.parametrize(
    ("setup", "printed"),
    [
        pytest.param("", "a warning of 7\n", id="nothing set up"),
        pytest.param(
            "logging.getLogger().addHandler(Leading())", "a warning of 7\n", id="instrumented"
        ),
        pytest.param(
            "logging.basicConfig(format='mine: %(message)s')\n"
            "logging.getLogger().addHandler(Leading())",
            "mine: a warning of 7\n",
            id="set up by the program",
        ),
        pytest.param(
            "logging.getLogger('otel_aioprom').addHandler(logging.NullHandler())\n"
            "logging.getLogger().addHandler(Leading())",
            "",
            id="silenced by the program",
        ),
        pytest.param(
            "logging.getLogger('otel_aioprom').setLevel(logging.ERROR)", "", id="errors only"
        ),
        pytest.param("logging.lastResort = None", "", id="no last resort"),
    ],
)
def test_warnings_are_printed_once_where_the_program_handles_none(setup: str, printed: str) -> None:
    """By Python's last resort, as if no library had added a handler."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(setup=setup)],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )

    assert done.stderr == printed


def test_the_handler_is_not_added_twice() -> None:
    """However many services there are."""
    install_last_resort()
    install_last_resort()
    handlers = logging.getLogger("otel_aioprom").handlers

    assert sum(isinstance(handler, LastResortHandler) for handler in handlers) == 1
