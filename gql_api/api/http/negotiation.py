"""Which media type an answer has, chosen by the ``Accept`` header (RFC 9110, 12.5.1).

One result goes as one of the two of GraphQL over HTTP, or as a stream for those who want nothing else. A subscription
goes as a stream of results only.
"""

from __future__ import annotations

from collections.abc import Iterator

RESPONSE_JSON = "application/graphql-response+json"
JSON = "application/json"
EVENT_STREAM = "text/event-stream"
MULTIPART = "multipart/mixed"

_STREAMS = (EVENT_STREAM, MULTIPART)
_ALL_JSON = (RESPONSE_JSON, JSON, "application/*", "*/*")


def media_type_for(accept: str) -> str:
    """Choose for one result. Who asks for nothing by name gets ``application/json``, as clients always did.

    A stream is chosen when it is wanted more than JSON: clients that name both mean the stream for subscriptions.
    """
    weights = dict(_weights(accept))
    stream = stream_type_for(accept)
    if stream and weights[stream] > max(weights.get(name, 0.0) for name in _ALL_JSON):
        return stream
    wanted = weights.get(RESPONSE_JSON, 0.0)
    return RESPONSE_JSON if wanted and wanted >= weights.get(JSON, 0.0) else JSON


def stream_type_for(accept: str) -> str | None:
    """Choose for a subscription; None when the client takes no stream."""
    weights = {name: weight for name, weight in _weights(accept) if name in _STREAMS and weight}
    return max(weights, key=weights.__getitem__, default=None)


def _weights(accept: str) -> Iterator[tuple[str, float]]:
    """Yield media types with their weights; ``multipart/mixed`` only where subscriptions are meant, not ``@defer``."""
    for entry in accept.split(","):
        name, _, rest = entry.partition(";")
        media_type, parameters = name.strip().lower(), dict(_parameters(rest))
        if media_type != MULTIPART or parameters.get("subscriptionspec", "").startswith("1."):
            yield media_type, _weight(parameters.get("q", "1"))


def _parameters(text: str) -> Iterator[tuple[str, str]]:
    for parameter in text.split(";"):
        name, _, value = parameter.partition("=")
        yield name.strip().lower(), value.strip().strip("\"'")


def _weight(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return 0.0
