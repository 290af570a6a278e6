"""Which media type an answer has: the two of GraphQL over HTTP, chosen by the ``Accept`` header (RFC 9110, 12.5.1)."""

from __future__ import annotations

RESPONSE_JSON = "application/graphql-response+json"
JSON = "application/json"


def media_type_for(accept: str) -> str:
    """Choose between the two. Who asks for neither by name gets ``application/json``, as clients always did."""
    weights = dict(_entries(accept))
    wanted = weights.get(RESPONSE_JSON, 0.0)
    return RESPONSE_JSON if wanted and wanted >= weights.get(JSON, 0.0) else JSON


def _entries(accept: str) -> list[tuple[str, float]]:
    return [(name.strip().lower(), _weight(rest)) for name, _, rest in (e.partition(";") for e in accept.split(","))]


def _weight(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
