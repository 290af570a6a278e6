"""A TCP proxy that a test makes misbehave: a process of its own, so that it keeps its pace whatever the test does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import IO, Any, Self

from ports import free_port

from gql_api.cli.embedded_servers import HOST

_CHUNK = 65_536


class Mode(StrEnum):
    """How the proxy treats a route."""

    OK = "ok"
    # Reset all open connections; new ones are fine.
    DROP = "drop"
    # Reset all open connections and every new one.
    REFUSE = "refuse"
    # Forward everything late.
    DELAY = "delay"
    # Forward nothing, and everything as soon as the mode changes.
    HANG = "hang"
    # Swallow what open connections carry, for good, and never close them; new ones are fine.
    HALF_OPEN = "halfopen"


class Proxy:
    """A running proxy, in the mode OK, which forwards each route's own port to a server on this machine."""

    def __init__(self, targets: Mapping[str, int], log: IO[bytes]) -> None:
        self._ports = {name: free_port() for name in targets}
        routes = {name: (self._ports[name], target) for name, target in targets.items()}
        self._process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(routes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
        self._wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def port(self, route: str) -> int:
        """Return the port on which the proxy accepts a route's connections."""
        return self._ports[route]

    def set(self, route: str, mode: Mode, *, seconds: float = 0.0, target: int | None = None) -> None:
        """Change the mode of a route, and return when the change has taken effect.

        Args:
            route: the name of the route.
            mode: the new mode.
            seconds: how late each piece of data is forwarded in the mode DELAY.
            target: another port for new connections.
        """
        assert self._process.stdin is not None
        order = {"route": route, "mode": mode, "seconds": seconds, "target": target}
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        self._wait()

    def close(self) -> None:
        """End the proxy, which resets all connections."""
        self._process.kill()
        self._process.communicate()

    def _wait(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline(), "the proxy has ended"


class _Connection:
    """Both ends of a connection through the proxy."""

    def __init__(self, route: _Route, client: asyncio.StreamWriter) -> None:
        self.is_dead = False
        self._route = route
        self._ends = [client]

    async def run(self, client: asyncio.StreamReader) -> None:
        """Connect to the server and forward both ways until one end closes."""
        await self._route.opened.wait()
        try:
            server, writer = await asyncio.open_connection(HOST, self._route.target)
        except OSError:
            self.reset()
            return
        self._ends.append(writer)
        await asyncio.gather(self._forward(client, writer), self._forward(server, self._ends[0]))

    def reset(self) -> None:
        """Reset both ends."""
        for end in self._ends:
            end.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                await asyncio.sleep(self._route.seconds)
                await self._route.opened.wait()
                if not self.is_dead:
                    writer.write(data)
                    await writer.drain()
        if not self.is_dead:
            writer.close()


class _Route:
    """A port, the server behind it, and the mode."""

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self.target = target
        self.seconds = 0.0
        self.opened = asyncio.Event()
        self.opened.set()
        self._refuses = False
        self._connections: set[_Connection] = set()

    async def serve(self) -> None:
        """Listen on the port."""
        await asyncio.start_server(self._accept, HOST, self.port)

    def change(self, mode: Mode, seconds: float, target: int | None) -> None:
        """Change the mode."""
        if mode in {Mode.DROP, Mode.REFUSE}:
            for connection in self._connections:
                connection.reset()
        if mode is Mode.HALF_OPEN:
            for connection in self._connections:
                connection.is_dead = True
        self._refuses = mode is Mode.REFUSE
        self.seconds = seconds if mode is Mode.DELAY else 0.0
        self.target = target or self.target
        if mode is Mode.HANG:
            self.opened.clear()
        else:
            self.opened.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self, writer)
        if self._refuses:
            connection.reset()
            return
        self._connections.add(connection)
        try:
            await connection.run(reader)
        finally:
            if not connection.is_dead:
                self._connections.discard(connection)


async def _run(spec: Mapping[str, tuple[int, int]]) -> None:
    routes = {name: _Route(port, target) for name, (port, target) in spec.items()}
    for route in routes.values():
        await route.serve()
    _acknowledge()
    while line := await asyncio.to_thread(sys.stdin.readline):
        order: dict[str, Any] = json.loads(line)
        routes[order["route"]].change(Mode(order["mode"]), order["seconds"], order["target"])
        _acknowledge()


def _acknowledge() -> None:
    sys.stdout.write("\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_run(json.loads(sys.argv[1])))
