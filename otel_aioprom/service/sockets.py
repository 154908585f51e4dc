"""Listening sockets: one port for all addresses of a host."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

_ACCEPTED = 3  # iterations of the event loop until a connection that was accepted has its transport
_UNAVAILABLE = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT}


async def open_sockets(addr: str, port: int) -> list[socket.socket]:
    """Bind every address of a host to one port.

    Args:
        addr: Host name or address; empty for all interfaces.
        port: The port; 0 takes a free one, the same for all addresses.

    Returns:
        Bound sockets, which belong to the caller.

    Raises:
        OSError: The name is unknown, or an address cannot be bound; no socket is left open.
    """
    addresses = await asyncio.get_running_loop().getaddrinfo(
        addr or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    try:
        for family, _, protocol, _, address in sorted(set(addresses)):
            same = port or (sockets[0].getsockname()[1] if sockets else 0)
            bound = _bind(family, protocol, (address[0], same, *address[2:]))
            sockets += [] if bound is None else [bound]
    except BaseException:
        close_all(sockets)
        raise
    if not sockets:
        raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    return sockets


def check_port(port: object) -> None:
    """Raise if a port is not a number: some systems take a string, or ``None``, for a while.

    Raises:
        TypeError: It is not an ``int``.
    """
    if not isinstance(port, int) or isinstance(port, bool):
        raise TypeError(f"port must be an int such as 9464, or 0 for a free one, not {port!r}")


async def stop_accepting(sockets: list[socket.socket]) -> None:
    """Accept no more connections, and wait until those that were accepted have their transports.

    asyncio loses track of one that has none yet when its server is closed: it would stay open.
    """
    loop = asyncio.get_running_loop()
    for opened in sockets:
        with suppress(NotImplementedError):  # Windows' event loop accepts in another way
            loop.remove_reader(opened)
    for _ in range(_ACCEPTED):
        await asyncio.sleep(0)


def close_all(sockets: list[socket.socket]) -> None:
    """Close sockets."""
    for opened in sockets:
        opened.close()


def release_copies(copies: Iterable[Any]) -> None:
    """Release a forked child's copies of sockets, so that only its parent has them.

    An open copy keeps a port taken, and accepts connections that nobody answers, after the parent has closed its own.
    The numbers stay in use, by the null device: objects that the child inherited may close them again.

    Args:
        copies: Sockets, or what event loops give instead.
    """
    null = os.open(os.devnull, os.O_RDWR)
    try:
        for copy in copies:
            if copy is not None and copy.fileno() >= 0:
                os.dup2(null, copy.fileno(), inheritable=False)
    finally:
        os.close(null)


def _bind(family: int, protocol: int, address: tuple[object, ...]) -> socket.socket | None:
    """Bind one address; return ``None`` if this machine has no such address family or IPv6 address."""
    try:
        opened = socket.socket(family, socket.SOCK_STREAM, protocol)
    except OSError:
        return None
    try:
        if os.name == "posix":
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(address)
    except BaseException as error:
        opened.close()
        unavailable = isinstance(error, OSError) and error.errno in _UNAVAILABLE
        if unavailable and family == socket.AF_INET6:
            return None
        raise
    return opened
