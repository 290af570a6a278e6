from __future__ import annotations

import pytest
from ports import free_port

from gql_api.server import listeners


def test_each_process_has_sockets_for_all_addresses() -> None:
    """All sockets of a port have its addresses, of both families where the host has both."""
    port = free_port()
    opened = listeners.listen("localhost", port, 3)
    try:
        addresses = [[each.getsockname()[:2] for each in sockets] for sockets in opened]
        assert addresses[0] == addresses[1] == addresses[2]
        assert ("127.0.0.1", port) in addresses[0]
    finally:
        listeners.close(*opened)


def test_another_server_cannot_share_the_port() -> None:
    """The port of one server with several processes is taken for another one."""
    port = free_port()
    opened = listeners.listen("127.0.0.1", port, 2)
    try:
        for sockets in opened:
            sockets[0].listen()
        with pytest.raises(OSError, match="in use"):
            listeners.listen("127.0.0.1", port, 2)
    finally:
        listeners.close(*opened)
    listeners.close(*listeners.listen("127.0.0.1", port, 2))
