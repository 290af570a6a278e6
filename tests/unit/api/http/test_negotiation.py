from __future__ import annotations

import pytest

from gql_api.api.http.negotiation import EVENT_STREAM, JSON, MULTIPART, RESPONSE_JSON, media_type_for, stream_type_for


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("text/html, */*;q=0.8", JSON),
        (JSON, JSON),
        (RESPONSE_JSON, RESPONSE_JSON),
        (f"{RESPONSE_JSON}; charset=utf-8, {JSON}", RESPONSE_JSON),
        (f"{JSON}, {RESPONSE_JSON}", RESPONSE_JSON),
        (f"{JSON};q=1, {RESPONSE_JSON};q=0.9", JSON),
        (f"{RESPONSE_JSON};q=0", JSON),
        (f"{RESPONSE_JSON};q=x", JSON),
        (f"{RESPONSE_JSON.upper()} ; Q=0.5", RESPONSE_JSON),
        (EVENT_STREAM, EVENT_STREAM),
        (f"{EVENT_STREAM}, {JSON};q=0.9", EVENT_STREAM),
        (f"{EVENT_STREAM};q=0.9, {JSON}", JSON),
        (f"{EVENT_STREAM}, {JSON}", JSON),
        (f"{EVENT_STREAM}, */*", JSON),
        (f"{RESPONSE_JSON}, {JSON}, {EVENT_STREAM}, {MULTIPART}", RESPONSE_JSON),  # urql, of a query
        (f"{MULTIPART};subscriptionSpec=1.0, {JSON}", JSON),
        (f"{MULTIPART};deferSpec=20220824", JSON),
    ],
)
def test_the_client_chooses_the_media_type(accept: str, chosen: str) -> None:
    """The newer media type goes to those who name it and do not prefer the older one."""
    assert media_type_for(accept) == chosen


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", None),
        ("*/*", None),
        (JSON, None),
        (MULTIPART, None),
        (f"{MULTIPART};deferSpec=20220824", None),
        (f"{EVENT_STREAM};q=0", None),
        (EVENT_STREAM, EVENT_STREAM),
        (f"{JSON}, {EVENT_STREAM.upper()};q=0.1", EVENT_STREAM),
        (f"{EVENT_STREAM}, {MULTIPART}", EVENT_STREAM),  # urql
        (f'{MULTIPART};subscriptionSpec="1.0", {JSON}', MULTIPART),
        (f"{MULTIPART};boundary=graphql;subscriptionSpec=1.0,{RESPONSE_JSON},{JSON};q=0.9", MULTIPART),  # Apollo Client
        (f"{EVENT_STREAM};q=0.5, {MULTIPART}; SubscriptionSpec = 1.0", MULTIPART),
    ],
)
def test_the_client_chooses_the_stream(accept: str, chosen: str | None) -> None:
    """A stream is a stream only by name, and multipart only for subscriptions."""
    assert stream_type_for(accept) == chosen
