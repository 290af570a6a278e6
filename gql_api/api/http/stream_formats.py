"""The wire formats of a streamed HTTP answer: the only place for their bytes."""

from __future__ import annotations

from dataclasses import dataclass

from gql_api.api.http.negotiation import EVENT_STREAM, MULTIPART


@dataclass(frozen=True)
class StreamFormat:
    """One format, in bytes.

    ``result`` is the prefix and the suffix of the JSON of a result, ``failure`` those of the JSON list of errors of a
    stream that breaks off, and ``refusal`` those of the errors of a stream whose token is not valid any more.
    ``heartbeat`` is sent every ``heartbeat_seconds``.
    """

    content_type: str
    heartbeat_seconds: float
    opening: bytes
    result: tuple[bytes, bytes]
    failure: tuple[bytes, bytes]
    refusal: tuple[bytes, bytes]
    heartbeat: bytes
    end: bytes
    ends_refused: bool
    """True if a refused stream has an end, which clients do not take for the end of the operation."""

    @property
    def headers(self) -> dict[str, str]:
        """The headers of an answer, which forbid proxies to store, transform or buffer it."""
        return {
            "Content-Type": self.content_type,
            "Cache-Control": "no-store, no-transform",
            "X-Accel-Buffering": "no",
        }

    def format_result(self, result: bytes) -> bytes:
        """Format one result, which is JSON on one line."""
        before, after = self.result
        return before + result + after

    def format_failure(self, errors: bytes) -> bytes:
        """Format the errors that end a stream."""
        before, after = self.failure
        return before + errors + after

    def format_refusal(self, errors: bytes) -> bytes:
        """Format the errors of a stream whose token is not valid any more, and its end if it has one."""
        before, after = self.refusal
        return before + errors + after + (self.end if self.ends_refused else b"")


_PART = b"\r\nContent-Type: application/json\r\n\r\n"
_BOUNDARY = b"\r\n--graphql"

FORMATS = {
    # GraphQL over SSE, distinct connections mode
    # (https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md). It opens with a comment because some browsers
    # do not expose an answer before its first byte. ``complete`` has an empty ``data`` because EventSource drops events
    # without one. Lines end in a bare newline because urql parses no other line end.
    EVENT_STREAM: StreamFormat(
        content_type="text/event-stream; charset=utf-8",
        heartbeat_seconds=12.0,
        opening=b":\n\n",
        result=(b"event: next\ndata: ", b"\n\n"),
        failure=(b'event: next\ndata: {"errors":', b"}\n\n"),
        # A comment: clients would take an event for a result of the operation, and ``complete`` for its end. They
        # subscribe again after a stream that breaks off, with a new token if they have one.
        refusal=(b': {"errors":', b"}\n\n"),
        heartbeat=b":\n\n",
        end=b"event: complete\ndata:\n\n",
        ends_refused=False,
    ),
    # Apollo's multipart subscriptions
    # (https://www.apollographql.com/docs/graphos/routing/operations/subscriptions/multipart-protocol). The boundary
    # follows each part at once: it is what completes the part for a client.
    MULTIPART: StreamFormat(
        content_type='multipart/mixed;boundary="graphql";subscriptionSpec=1.0',
        heartbeat_seconds=5.0,
        opening=b"--graphql",
        result=(_PART + b'{"payload":', b"}" + _BOUNDARY),
        failure=(_PART + b'{"payload":null,"errors":', b"}" + _BOUNDARY),
        # An error of the transport: Apollo's RetryLink subscribes again, with a new token if there is one.
        refusal=(_PART + b'{"payload":null,"errors":', b"}" + _BOUNDARY),
        heartbeat=_PART + b"{}" + _BOUNDARY,
        end=b"--\r\n",
        ends_refused=True,
    ),
}
