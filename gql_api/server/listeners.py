"""The listening sockets of the processes of ``gql-api serve --workers``."""

from __future__ import annotations

import socket
import sys
from typing import Any

Listeners = list[socket.socket]
"""The sockets on which one process accepts connections, one for each address of the host."""

# On Linux, the kernel spreads connections evenly over the sockets of a port. With one socket for all processes, those
# that wake up first would get most of the WebSockets. Other systems give all connections to one of the sockets.
_SPREADS = sys.platform == "linux"


def listen(host: str, port: int, count: int) -> list[Listeners]:
    """Open the port of a host, at all its addresses, for a number of processes; each begins to listen by itself.

    Raises:
        OSError: an address cannot be opened, for example because it is taken.
    """
    opened: list[Listeners] = [[] for _ in range(count)]
    try:
        for family, address in _addresses(host, port):
            # Without the option to share the port: one that another server uses must be an error.
            first = _bound(family, address, shares=False)
            opened[0].append(first)
            if _SPREADS:
                first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, True)
            for listeners in opened[1:]:
                listeners.append(_bound(family, address, shares=True) if _SPREADS else first.dup())
    except BaseException:
        close(*opened)
        raise
    return opened


def close(*opened: Listeners) -> None:
    """Close the sockets in this process; a process that has inherited them keeps them."""
    for listeners in opened:
        for listener in listeners:
            listener.close()


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _bound(family: socket.AddressFamily, address: tuple[Any, ...], *, shares: bool) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # The port of a server that has just stopped is free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
        if shares:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, True)
        if family is socket.AF_INET6:  # the IPv4 addresses of the host have sockets of their own
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, True)
        listener.bind(address)
    except BaseException:
        listener.close()
        raise
    return listener
