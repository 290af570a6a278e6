"""The only place that reads ``Accept`` (RFC 9110, 12.5.1) and chooses the media type of an answer."""

from __future__ import annotations

import functools
import re
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
_SHORT_WEIGHT = re.compile(r"(;[ \t]*q=)(?:([01])\.(?=[,; \t]|$)|\.(\d{1,3}))", re.IGNORECASE)


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


def _weights(accept: str) -> Mapping[str, float]:
    """Return the weight of each media type, in the order of preference.

    ``multipart/mixed`` counts only with the parameter of Apollo's subscriptions: without it a client means ``@defer``.
    """
    # The length is checked here, so that the cache keeps no long header.
    return _parsed_weights(accept) if len(accept) <= _MAX_LENGTH else {}


# Every request is negotiated, and clients send few different headers.
@functools.lru_cache(128)
def _parsed_weights(accept: str) -> Mapping[str, float]:
    # RFC 9110 allows no space around "=", and the library drops such a parameter; this API has always accepted it.
    compact = "=".join(part.strip(" \t") for part in accept.split("="))
    # A weight may end with its dot (RFC 9110, 12.4.2), and old clients leave out the zero before it.
    complete = _SHORT_WEIGHT.sub(lambda match: f"{match[1]}{match[2] or 0}.{match[3] or 0}", compact)
    weights: dict[str, float] = {}
    for media_range, weight in parse_accept_header(complete):
        media_type, parameters = parse_options_header(media_range.lower())
        if media_type != MULTIPART or parameters.get("subscriptionspec", "").strip("'").startswith("1."):
            # The library sorts by weight: of a type that is named twice the higher weight counts.
            weights.setdefault(media_type, weight)
    return weights
