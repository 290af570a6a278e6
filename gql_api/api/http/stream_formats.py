"""How results are written into an HTTP answer that goes on: the wire formats, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from gql_api.api.http.negotiation import EVENT_STREAM, MULTIPART


@dataclass(frozen=True)
class StreamFormat:
    """One format, in bytes.

    ``result`` and ``failure`` are what stands before and after the JSON of a result, and before and after the JSON list
    of errors of a stream that breaks off. ``beat`` says that the stream lives, every ``beat_seconds``.
    """

    content_type: str
    beat_seconds: float
    opening: bytes
    result: tuple[bytes, bytes]
    failure: tuple[bytes, bytes]
    beat: bytes
    end: bytes

    @property
    def headers(self) -> dict[str, str]:
        """The headers of an answer: nobody on the way may keep, change or gather what it says."""
        return {
            "Content-Type": self.content_type,
            "Cache-Control": "no-store, no-transform",
            "X-Accel-Buffering": "no",
        }

    def of_result(self, result: bytes) -> bytes:
        """Write one result, which is JSON on one line."""
        before, after = self.result
        return before + result + after

    def of_failure(self, errors: bytes) -> bytes:
        """Write why no more results come."""
        before, after = self.failure
        return before + errors + after


_PART = b"\r\nContent-Type: application/json\r\n\r\n"
_BOUNDARY = b"\r\n--graphql"

FORMATS = {
    # GraphQL over SSE, distinct connections mode
    # (https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md). The comment at the beginning is there because
    # some browsers show no answer before its first byte; the empty ``data`` because EventSource drops events without;
    # lines end in a bare newline because urql reads no other.
    EVENT_STREAM: StreamFormat(
        content_type="text/event-stream; charset=utf-8",
        beat_seconds=12.0,
        opening=b":\n\n",
        result=(b"event: next\ndata: ", b"\n\n"),
        failure=(b'event: next\ndata: {"errors":', b"}\n\n"),
        beat=b":\n\n",
        end=b"event: complete\ndata:\n\n",
    ),
    # Apollo's multipart subscriptions
    # (https://www.apollographql.com/docs/graphos/routing/operations/subscriptions/multipart-protocol). Each part is
    # followed by its boundary at once: a client knows by it that the part is whole.
    MULTIPART: StreamFormat(
        content_type='multipart/mixed;boundary="graphql";subscriptionSpec=1.0',
        beat_seconds=5.0,
        opening=b"--graphql",
        result=(_PART + b'{"payload":', b"}" + _BOUNDARY),
        failure=(_PART + b'{"payload":null,"errors":', b"}" + _BOUNDARY),
        beat=_PART + b"{}" + _BOUNDARY,
        end=b"--\r\n",
    ),
}
