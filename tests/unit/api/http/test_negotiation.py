from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from gql_api.api.http.negotiation import (
    EVENT_STREAM,
    JSON,
    MULTIPART,
    RESPONSE_JSON,
    accept_of,
    media_type_for,
    stream_type_for,
)

_APOLLO = 'multipart/mixed;subscriptionSpec="1.0"'


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
        (f"{RESPONSE_JSON};q=0, {JSON};q=0.1", JSON),
        (f"{RESPONSE_JSON};q=0.0, */*", JSON),
        (f"{RESPONSE_JSON};q=2", JSON),
        (f"{JSON};q=.5, {RESPONSE_JSON};q=1.", RESPONSE_JSON),
        (f"{JSON};q=0.6, {RESPONSE_JSON}; Q=.5", JSON),
        (f"{RESPONSE_JSON};q=-1", JSON),
        (f"{RESPONSE_JSON};q=nan", JSON),
        (f'{RESPONSE_JSON};q="0.5"', RESPONSE_JSON),
        (f"{JSON};q=0.1, {RESPONSE_JSON};q=0.5, {JSON};q=0.9", JSON),
        (f'{RESPONSE_JSON};profile="{JSON};q=1,x"', RESPONSE_JSON),
        (f'{RESPONSE_JSON};profile="q=0"', RESPONSE_JSON),
        (f"{EVENT_STREAM}, {JSON};q=0", EVENT_STREAM),
        (f'text/html;a="{EVENT_STREAM}", {RESPONSE_JSON}', RESPONSE_JSON),
        (f"{_APOLLO}, {JSON};q=0.9", MULTIPART),
        (f",, ;,\t,{RESPONSE_JSON},", RESPONSE_JSON),
        (f'{RESPONSE_JSON};profile="x', JSON),
        ('/;=\\"', JSON),
        ("*", JSON),
        ("x" * 100_000, JSON),
        (f"{RESPONSE_JSON}," + " " * 100_000, JSON),
    ],
)
def test_the_client_chooses_the_media_type(accept: str, chosen: str) -> None:
    """A client gets the newer media type when it names it and does not prefer the older one."""
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
        (f'{MULTIPART};boundary="a,b";subscriptionSpec="1.0"', MULTIPART),
        (f'{MULTIPART};boundary="a;b=c";subscriptionSpec="1.0", {JSON}', MULTIPART),
        (f'{MULTIPART};boundary="a\\",\\";b";subscriptionSpec="1.0"', MULTIPART),
        (f'{MULTIPART};boundary="a\\\\";subscriptionSpec="1.0"', MULTIPART),
        (f'{MULTIPART};subscriptionSpec="\\1.0"', MULTIPART),
        (f"{MULTIPART};subscriptionSpec='1.0'", MULTIPART),
        (f"{EVENT_STREAM};q=.5", EVENT_STREAM),
        (f"{EVENT_STREAM};q=0.", None),
        (f'{MULTIPART};boundary=";subscriptionSpec=1.0"', None),
        (f'{MULTIPART};boundary="a\\";subscriptionSpec=1.0"', None),
        (f'{MULTIPART};subscriptionSpec="2.0"', None),
        (f'{MULTIPART};boundary="a,b;subscriptionSpec=1.0', None),
        (f"{_APOLLO};q=0", None),
        (f"{_APOLLO};q=0.000, {EVENT_STREAM};q=0.001", EVENT_STREAM),
        (f"{EVENT_STREAM};q=0, {_APOLLO};q=0.1", MULTIPART),
        (f"{EVENT_STREAM};q=1.5, {_APOLLO}", MULTIPART),
        (f"{MULTIPART};deferSpec=20220824, {_APOLLO};q=0.5", MULTIPART),
        (f'text/html;a="{EVENT_STREAM},{EVENT_STREAM}"', None),
        ("text/*", None),
        ("*", None),
        ("\xff\x00;,=", None),
        (f"{EVENT_STREAM}," + " " * 100_000, None),
    ],
)
def test_the_client_chooses_the_stream(accept: str, chosen: str | None) -> None:
    """A client gets a stream only when it names one, and multipart only for subscriptions."""
    assert stream_type_for(accept) == chosen


@pytest.mark.parametrize(
    ("lines", "chosen"),
    [
        ([], None),
        ([JSON], None),
        ([JSON, EVENT_STREAM], EVENT_STREAM),
        ([f"{EVENT_STREAM};q=0.5", _APOLLO], MULTIPART),
        (["", f"{JSON},", f"{EVENT_STREAM}"], EVENT_STREAM),
    ],
)
def test_several_headers_are_one_list(lines: list[str], chosen: str | None) -> None:
    """A client may spread its media types over several Accept headers."""
    headers = Headers(raw=[(b"accept", line.encode()) for line in lines])
    assert stream_type_for(accept_of(headers)) == chosen


@given(st.text(st.sampled_from("*=;,\"\\/ aq01.\t%'\xe4-") | st.characters(max_codepoint=255), max_size=60))
def test_every_header_has_an_answer(accept: str) -> None:
    """A header that makes no sense chooses a media type all the same, and fails nowhere."""
    assert media_type_for(accept) in {JSON, RESPONSE_JSON, EVENT_STREAM, MULTIPART}
    assert stream_type_for(accept) in {None, EVENT_STREAM, MULTIPART}
