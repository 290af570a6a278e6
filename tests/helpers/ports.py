"""Ports for the servers of tests."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import socket

from gql_api.cli.embedded_servers import HOST

# Below the ports that the system gives to connections and to other servers, and above 10080, which Node.js refuses.
_FIRST, _COUNT, _PROCESSES = 12_000, 5_000, 4
# Another run of the tests on this machine begins elsewhere.
_numbers = itertools.count(secrets.randbelow(_COUNT))


def free_port() -> int:
    """Return a free port of this test process alone: nobody else takes it before a server listens on it."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PROCESSES
    while True:
        port = _FIRST + number * _COUNT + next(_numbers) % _COUNT
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port
