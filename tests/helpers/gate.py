"""A TCP proxy between clients and the API, whose connections a test can reset and redirect."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

# A connection closed with this is reset, as when a machine or a proxy on the way is gone.
_RESET = struct.pack("ii", 1, 0)


class Gate:
    """A proxy that forwards TCP connections to a port of this machine, ``leads_to``."""

    def __init__(self, listener: socket.socket, port: int) -> None:
        self._listener = listener
        self._open: set[socket.socket] = set()
        self.leads_to = port
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    def slam(self) -> None:
        """Reset all connections on both sides; new ones are accepted at once."""
        for end in list(self._open):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._close(end, socket.SHUT_RD)

    def accept(self) -> None:
        """Forward connections until the listener is closed."""
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self.leads_to))
                except OSError:
                    client.close()
                    continue
                self._open |= {client, server}
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                sink.sendall(chunk)
        self._close(source)
        self._close(sink)

    def _close(self, end: socket.socket, how: int = socket.SHUT_RDWR) -> None:
        self._open.discard(end)
        # The shutdown wakes the thread that reads: a close alone does not.
        with contextlib.suppress(OSError):
            end.shutdown(how)
        end.close()


@contextlib.contextmanager
def gate(port: int) -> Iterator[Gate]:
    """Open a gate that leads to a port; it closes with the block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        opened = Gate(listener, port)
        threading.Thread(target=opened.accept, daemon=True).start()
        yield opened
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        opened.slam()
