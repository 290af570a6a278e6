from __future__ import annotations

import pytest

from gql_api.negotiation import JSON, RESPONSE_JSON, media_type_for


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
    ],
)
def test_the_client_chooses_the_media_type(accept: str, chosen: str) -> None:
    """The newer media type goes to those who name it and do not prefer the older one."""
    assert media_type_for(accept) == chosen
