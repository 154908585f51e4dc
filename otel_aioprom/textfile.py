"""A registry written to a file, for the node exporter's textfile collector."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path

from otel_aioprom.formats.text import RelayedTextFormatter
from otel_aioprom.registry.registry import CollectorRegistry

_SUFFIX = ".prom"
_READABLE = 0o644  # the node exporter runs as another user


def write_textfile(registry: CollectorRegistry, path: str | os.PathLike[str]) -> None:
    """Write a registry to a file atomically, in text format 0.0.4.

    Readers see the old file or the new one, never a part. The call blocks for sources and for the disk: on an event
    loop, use ``asyncio.to_thread``.

    Args:
        registry: What to write.
        path: The file. Its folder must exist. The node exporter reads only names that end in ``.prom``; another name
            is warned about.

    Raises:
        TypeError: ``registry`` is no registry.
        OSError: The file cannot be written; an older file is unchanged, and no temporary file is left.
    """
    target = Path(path)
    if not target.name.endswith(_SUFFIX):
        message = (
            f"the node exporter reads only names that end in {_SUFFIX}: rename {target.name!r}"
        )
        warnings.warn(message, stacklevel=2)
    body = RelayedTextFormatter(False).marshall(registry)
    # In the same folder: a rename is atomic only within one file system.
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
