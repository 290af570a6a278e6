"""The only place that reads ``Accept`` (RFC 9110, 12.5.1) and chooses the media type of an answer."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from starlette.datastructures import Headers
from werkzeug.http import parse_accept_header, parse_options_header

RESPONSE_JSON = "application/graphql-response+json"
JSON = "application/json"
EVENT_STREAM = "text/event-stream"
MULTIPART = "multipart/mixed"

_STREAMS = (EVENT_STREAM, MULTIPART)
_ALL_JSON = (RESPONSE_JSON, JSON, "application/*", "*/*")
# Clients send up to 200 characters. The library reads a header character by character, so a longer one is not read.
_MAX_LENGTH = 4096


def accept_of(headers: Headers) -> str:
    """Return the ``Accept`` of a request, whose lines are one list (RFC 9110, 5.3)."""
    return ", ".join(headers.getlist("accept"))


def media_type_for(accept: str) -> str:
    """Choose the media type of one result.

    A client that names no type gets ``application/json``, as clients did before GraphQL had a media type of its own.
    A stream is chosen only when its weight is above that of JSON: clients that name both use the stream for
    subscriptions.
    """
    weights = _weights(accept)
    stream = stream_type_for(accept)
    if stream and weights[stream] > max(weights.get(name, 0.0) for name in _ALL_JSON):
        return stream
    response_weight = weights.get(RESPONSE_JSON, 0.0)
    return RESPONSE_JSON if response_weight and response_weight >= weights.get(JSON, 0.0) else JSON


def stream_type_for(accept: str) -> str | None:
    """Choose the media type of a subscription; None when the client accepts no stream."""
    weights = _weights(accept)
    return next((name for name, weight in weights.items() if name in _STREAMS and weight), None)


# Every request is negotiated, and clients send few different headers.
@functools.lru_cache(128)
def _weights(accept: str) -> Mapping[str, float]:
    """Return the weight of each media type, in the order of preference.

    ``multipart/mixed`` counts only with the parameter of Apollo's subscriptions: without it a client means ``@defer``.
    """
    if len(accept) > _MAX_LENGTH:
        return {}
    # RFC 9110 allows no space around "=", and the library drops such a parameter; this API has always accepted it.
    compact = "=".join(part.strip(" \t") for part in accept.split("="))
    weights: dict[str, float] = {}
    for media_range, weight in parse_accept_header(compact):
        media_type, parameters = parse_options_header(media_range.lower())
        if media_type != MULTIPART or parameters.get("subscriptionspec", "").startswith("1."):
            # The library sorts by weight: of a type that is named twice the higher weight counts.
            weights.setdefault(media_type, weight)
    return weights
