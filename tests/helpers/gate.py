"""A door between clients and the API, which a test can slam and can lead elsewhere."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

# A connection closed with this is reset, as when a machine or a proxy on the way is gone.
_RESET = struct.pack("ii", 1, 0)


class Gate:
    """Passes TCP connections on to a port of this machine."""

    def __init__(self, listener: socket.socket, port: int) -> None:
        self._listener = listener
        self._open: set[socket.socket] = set()
        self.leads_to = port
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    def slam(self) -> None:
        """Reset all connections, on both sides; new ones may come at once."""
        for end in list(self._open):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._close(end, socket.SHUT_RD)

    def accept(self) -> None:
        """Pass connections on until the listener is closed."""
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
                    threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                sink.sendall(chunk)
        self._close(source)
        self._close(sink)

    def _close(self, end: socket.socket, how: int = socket.SHUT_RDWR) -> None:
        """Wake the thread that reads from it, then close it: a reset says nothing before."""
        self._open.discard(end)
        with contextlib.suppress(OSError):
            end.shutdown(how)
        end.close()


@contextlib.contextmanager
def gate(port: int) -> Iterator[Gate]:
    """Open a gate that leads to a port; it is shut with the block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        door = Gate(listener, port)
        threading.Thread(target=door.accept, daemon=True).start()
        yield door
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        door.slam()
