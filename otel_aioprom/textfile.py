"""A registry as a file, for the node exporter's textfile collector."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from otel_aioprom.formats import TextFormatter
from otel_aioprom.registry.registry import CollectorRegistry

_READABLE = 0o644  # the node exporter runs as another user


def write_textfile(registry: CollectorRegistry, path: str | os.PathLike[str]) -> None:
    """Write a registry in text format 0.0.4, at once or not at all.

    Readers see the old file or the new one, never a part. It waits for sources and for the disk: on an
    event loop, call it with ``asyncio.to_thread``.

    Args:
        registry: What to write.
        path: The file, which ends in ``.prom`` for the node exporter; its folder must exist.

    Raises:
        OSError: The file cannot be written; an older one is as it was, and nothing else is left behind.
    """
    target = Path(path)
    body = TextFormatter(False).marshall(registry)
    # In the same folder, for a file changes its name in one step only within a file system.
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(_READABLE)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
