"""``ALLOWED_ORIGINS``: the web pages that may use the API, by one rule for HTTP and WebSockets.

Pages of the API's own origin may use it, and so may pages of the origins that the setting lists. Clients that are not
browsers send no Origin header, and are not restricted.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Scope

from gql_api.addresses import origin as normal_origin
from gql_api.api.pages.requests import opens_page

_SCHEMES = {"ws": "http", "wss": "https"}
_OWN_SITES = (b"same-origin", b"none")
# CORSMiddleware adds those that need no permission: Accept, Accept-Language, Content-Language and Content-Type.
_ALLOWED_HEADERS = (
    "Authorization",
    "Last-Event-ID",
    # Apollo Client.
    "Apollo-Require-Preflight",
    "Apollographql-Client-Name",
    "Apollographql-Client-Version",
    "X-Apollo-Operation-Name",
    # W3C Trace Context, and baggage.
    "Baggage",
    "Traceparent",
    "Tracestate",
)
_EXPOSED_HEADERS = ("Allow", "Link", "Retry-After", "WWW-Authenticate")


class Origins:
    """The origins from which browsers may send requests, besides the API's own."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._origins = frozenset(origins)

    def allows(self, scope: Scope, host: bytes, origins: Sequence[bytes], sites: Sequence[bytes]) -> bool:
        """Return whether a request may be answered.

        Args:
            scope: the request.
            host: its Host header.
            origins: its Origin headers.
            sites: its Sec-Fetch-Site headers. Browsers omit Origin in requests by which pages embed or open something.
        """
        if origins:
            scheme: str = scope["scheme"]
            scheme = _SCHEMES.get(scheme, scheme)
            return len(origins) == 1 and self._allows(origins[0], scheme, host)
        # A link on another site may open a page, which has no data.
        return all(site in _OWN_SITES for site in sites) or opens_page(scope)

    def middleware(self) -> list[Middleware]:
        """Return the middleware that answers browsers by CORS, without credentials."""
        if not self._origins:
            return []
        cors = Middleware(
            CORSMiddleware,
            allow_origins=self._origins,
            allow_methods=("GET", "POST"),
            allow_headers=_ALLOWED_HEADERS,
            expose_headers=_EXPOSED_HEADERS,
            allow_private_network=True,
        )
        return [cors]

    def _allows(self, origin: bytes, scheme: str, host: bytes) -> bool:
        given = _normal(origin)
        return given is not None and (given in self._origins or given == _normal(b"%b://%b" % (scheme.encode(), host)))


@functools.lru_cache(64)  # clients choose the text: the cache is small
def _normal(origin: bytes) -> str | None:
    try:
        return normal_origin(origin.decode("latin-1"))
    except ValueError:
        return None
