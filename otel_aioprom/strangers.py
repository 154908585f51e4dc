"""Code of others that is called: how it fails, told without failing oneself."""

from __future__ import annotations

from threading import current_thread, main_thread

_EXITS = (SystemExit, KeyboardInterrupt)


def described(thing: object) -> str:
    """Return the ``repr`` of an object, whatever that does."""
    try:
        return repr(thing)
    except Exception:  # noqa: BLE001 - it is not ours
        return f"<{type(thing).__name__} that has no repr>"


def said_by(error: BaseException) -> str:
    """Return the message of an error, whatever that does."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - it is not ours
        return described(error)


def is_exit(error: BaseException) -> bool:
    """Tell whether an error is to go on, for it may be a signal handler's that ends the program."""
    return isinstance(error, _EXITS) and current_thread() is main_thread()
