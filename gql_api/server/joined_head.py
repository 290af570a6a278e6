"""The head and the body of an HTTP answer in one write: each is a system call, and for most answers a packet."""

from __future__ import annotations

import asyncio

# uvicorn writes the names of headers in lower case.
_HAS_LENGTH = b"\r\ncontent-length: "


class JoinedHead:
    """The transport of one answer to another method than HEAD, which writes the head together with what follows.

    uvicorn writes the head alone. A head that announces the length of the body waits for it. Any other one, as that of
    a stream, waits until the end of the tick: to wait takes a tenth of the time in which an answer is sent.

    Args:
        transport: the transport of the connection.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None
        self._is_begun = False

    def write(self, data: bytes) -> None:
        """Write a part of the answer, the head first."""
        if self._head is not None:
            head, self._head = self._head, None
            self._transport.writelines([head, data])
        elif self._is_begun:
            self._transport.write(data)
        else:
            self._is_begun, self._head = True, data
            if _HAS_LENGTH not in data:
                asyncio.get_running_loop().call_soon(self._flush)

    def is_closing(self) -> bool:
        """Return whether the connection is closing or closed."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Close the connection after what was written."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._head is not None:
            head, self._head = self._head, None
            self._transport.write(head)
