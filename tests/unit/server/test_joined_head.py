from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from gql_api.server.joined_head import JoinedHead


class _Transport:
    """A transport that notes its calls."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def write(self, data: bytes) -> None:
        """Note it."""
        self.calls.append(data)

    def writelines(self, parts: list[bytes]) -> None:
        """Note them together."""
        self.calls.append(parts)

    def close(self) -> None:
        """Note it."""
        self.calls.append("close")

    def is_closing(self) -> bool:
        """Return whether it was closed."""
        return "close" in self.calls


@pytest.fixture
def transport() -> _Transport:
    """The transport of a connection."""
    return _Transport()


def _joined(transport: _Transport) -> JoinedHead:
    return JoinedHead(cast("asyncio.Transport", transport))


async def test_head_and_body_are_one_write(transport: _Transport) -> None:
    """What follows them in the same tick is written by itself."""
    joined = _joined(transport)
    joined.write(b"head")
    joined.write(b"body")
    joined.write(b"more")
    assert transport.calls == [[b"head", b"body"], b"more"]
    await asyncio.sleep(0)
    assert len(transport.calls) == 2


async def test_the_head_of_a_stream_does_not_wait(transport: _Transport) -> None:
    """It is written at the end of the tick, before anything that follows."""
    joined = _joined(transport)
    joined.write(b"head")
    assert transport.calls == []
    await asyncio.sleep(0)
    assert transport.calls == [b"head"]
    joined.write(b"chunk")
    assert transport.calls == [b"head", b"chunk"]


async def test_a_closed_answer_has_its_head(transport: _Transport) -> None:
    """The connection is closed behind an answer without a body."""
    joined = _joined(transport)
    joined.write(b"head")
    joined.close()
    assert joined.is_closing()
    await asyncio.sleep(0)
    assert transport.calls == [b"head", "close"]


async def test_a_head_waits_for_a_body_of_known_length(transport: _Transport) -> None:
    """Also when the body comes later, for it comes for certain."""
    joined = _joined(transport)
    joined.write(head := b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n")
    await asyncio.sleep(0)
    assert transport.calls == []
    joined.write(b"body")
    assert transport.calls == [[head, b"body"]]
