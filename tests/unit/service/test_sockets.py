"""Binding all addresses of a host to one port."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

import pytest

from otel_aioprom.service import sockets
from otel_aioprom.service.sockets import close_all, open_sockets


async def test_all_addresses_of_a_name_get_one_port() -> None:
    """Even if the system picks the port."""
    sockets = await open_sockets("localhost", 0)
    ports = {opened.getsockname()[1] for opened in sockets}
    close_all(sockets)

    assert len(ports) == 1
    assert ports != {0}


async def test_no_name_means_all_interfaces() -> None:
    """IPv4 and, where available, IPv6."""
    sockets = await open_sockets("", 0)
    addresses = {opened.getsockname()[0] for opened in sockets}
    close_all(sockets)

    assert "0.0.0.0" in addresses  # noqa: S104 - a wildcard on purpose


async def test_a_taken_port_raises() -> None:
    """The address is not reused."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            await open_sockets("127.0.0.1", taken.getsockname()[1])


async def test_an_unknown_name_raises() -> None:
    """With the system's error."""
    with pytest.raises(OSError, match=r".+"):
        await open_sockets("no.such.host.invalid", 0)


class Refusing:
    """Creates sockets that cannot be bound in one address family."""

    def __init__(self, family: int, number: int, *, at_once: bool = False) -> None:
        self.family = family
        self.number = number
        self.at_once = at_once
        self.opened: list[socket.socket] = []

    def __call__(self, family: int, *args: Any) -> socket.socket:
        """Create a socket, or raise."""
        refuse = family == self.family
        if refuse and self.at_once:
            raise OSError(self.number, os.strerror(self.number))
        created = _Unbound(family, *args) if refuse else socket.socket(family, *args)
        if isinstance(created, _Unbound):
            created.number = self.number
        self.opened.append(created)
        return created


class _Unbound(socket.socket):
    number = 0

    def bind(self, address: Any, /) -> None:
        """Raise."""
        raise OSError(self.number, os.strerror(self.number))


def use(monkeypatch: pytest.MonkeyPatch, factory: Refusing) -> None:
    """Replace the class of sockets, only in the tested module."""

    class Module:
        def __getattr__(self, name: str) -> Any:
            return factory if name == "socket" else getattr(socket, name)

    monkeypatch.setattr(sockets, "socket", Module())


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_machine_without_ipv6_listens_on_ipv4(
    monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    """Whether the family or its address is unavailable."""
    use(monkeypatch, Refusing(socket.AF_INET6, errno.EADDRNOTAVAIL, at_once=at_once))
    sockets = await open_sockets("", 0)
    families = {opened.family for opened in sockets}
    close_all(sockets)

    assert families == {socket.AF_INET}


async def test_an_unavailable_address_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket would listen."""
    use(monkeypatch, Refusing(socket.AF_INET, errno.EAFNOSUPPORT, at_once=True))
    with pytest.raises(OSError, match=os.strerror(errno.EADDRNOTAVAIL)):
        await open_sockets("127.0.0.1", 0)


async def test_a_failure_closes_all_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the one of the first address, if the second is taken."""
    factory = Refusing(socket.AF_INET6, errno.EADDRINUSE)
    use(monkeypatch, factory)
    with pytest.raises(OSError, match="in use"):
        await open_sockets("", 0)

    assert {opened.fileno() for opened in factory.opened} == {-1}


async def test_addresses_are_reused_on_posix_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """On other systems the option lets two servers share a port."""
    monkeypatch.setattr(sockets.os, "name", "nt")
    opened = await open_sockets("127.0.0.1", 0)
    reuse = opened[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
    close_all(opened)

    assert reuse == 0
