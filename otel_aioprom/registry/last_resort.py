"""Warnings on stderr in programs that have set up no logging, also where an instrumentation has added a handler."""

from __future__ import annotations

import logging

_ROOT = "otel_aioprom"
_INSTRUMENTATION = "opentelemetry."


class LastResortHandler(logging.Handler):
    """Prints this library's warnings as Python does where no handler is set up.

    Python prints them only as long as there is no handler at all. opentelemetry-instrumentation-logging adds one, which
    may lead nowhere, and with it every warning of a program that has not set up logging is lost.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Pass the record to Python's last resort, unless a handler of the program gets it."""
        last_resort = logging.lastResort
        if last_resort is None or record.levelno < last_resort.level or _is_handled(record.name):
            return
        last_resort.handle(record)


def _is_handled(name: str) -> bool:
    """Return whether a logger has a handler, of its own or inherited, that the program has set up."""
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        for handler in logger.handlers:
            kind = type(handler)
            if kind is not LastResortHandler and not kind.__module__.startswith(_INSTRUMENTATION):
                return True
        logger = logger.parent if logger.propagate else None
    return False


def install_last_resort() -> None:
    """Add the handler to this library's logger; a second call does nothing."""
    logger = logging.getLogger(_ROOT)
    if not any(isinstance(handler, LastResortHandler) for handler in logger.handlers):
        logger.addHandler(LastResortHandler())
