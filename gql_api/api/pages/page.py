"""The text of a page as it is served: with the path and the configuration of this deployment, and its policy."""

from __future__ import annotations

import functools
import html
import importlib.metadata
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from starlette.types import Scope

from gql_api.api.execution.encoding import encode
from gql_api.api.pages.requests import BOARD, loads_asset, opens_page, path_of
from gql_api.settings import Settings

TITLE = "gql-api"
NOT_BUILT = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>gql-api</title>"
    "<p>This page is not built: run <code>make web</code>, which needs Node.js, or install gql-api from its wheel. "
    "The API works without it.</p></html>"
)

_BASE = re.compile(r'<base href="[^"]*" ?/?>')
_CONFIG = re.compile(r'(<script type="application/json" id="config">).*?(</script>)', re.DOTALL)
# No character of the configuration can end its element, or begin another one.
_ESCAPES = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}


@dataclass(frozen=True)
class PageOptions:
    """The properties of a deployment that its pages need, and the headers of the pages.

    Args:
        has_board: whether the board is served.
        has_playground: whether the playground is served.
        oidc: the parameters with which users sign in at an issuer, if there is one.
        sign_in_origin: the origin of that issuer.
    """

    has_board: bool
    has_playground: bool
    oidc: dict[str, str | None] | None
    sign_in_origin: str | None

    @classmethod
    def of(cls, settings: Settings) -> PageOptions:
        """Return the options that settings describe."""
        return cls(settings.dashboard, not settings.production, _oidc(settings), settings.sign_in_origin)

    def are_asked_for(self, scope: Scope) -> bool:
        """Return whether a request is for a page that is served, or for a file of one."""
        if opens_page(scope):
            return self.has_playground or (self.has_board and path_of(scope) == BOARD)
        return (self.has_board or self.has_playground) and loads_asset(scope)

    @functools.cached_property
    def headers(self) -> dict[str, str]:
        """The headers of a page, with a Content-Security-Policy that allows what the pages need and nothing else."""
        policy = {
            "default-src": "'none'",
            "script-src": "'self'",
            "worker-src": "'self'",
            # Editors and components set the style of single elements.
            "style-src": "'self' 'unsafe-inline'",
            "img-src": "'self' data:",
            "font-src": "'self' data:",
            # WebSockets too.
            "connect-src": "'self'" if self.sign_in_origin is None else f"'self' {self.sign_in_origin}",
            "base-uri": "'self'",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
        }
        return {
            "Content-Security-Policy": "; ".join(f"{name} {sources}" for name, sources in policy.items()),
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cache-Control": "no-cache",
        }

    def render(self, text: str, root_path: str, *, needs_token: bool) -> str:
        """Return a page for a request.

        Args:
            text: the page as it was built.
            root_path: the path at which the application is mounted.
            needs_token: whether the page asks for a token before it calls the API.
        """
        path = quote(root_path.rstrip("/"))
        config: dict[str, Any] = {
            "path": f"{path}/graphql",
            "title": TITLE,
            "version": _version(),
            "board": self.has_board,
            "playground": self.has_playground,
            "authentication": needs_token,
            "oidc": self.oidc,
        }
        encoded = encode(config).decode().translate(_ESCAPES)
        based = _BASE.sub(lambda _: f'<base href="{html.escape(path)}/">', text, count=1)
        return _CONFIG.sub(lambda match: match[1] + encoded + match[2], based, count=1)


def _oidc(settings: Settings) -> dict[str, str | None] | None:
    if not settings.oidc_client_id:
        return None
    return {
        "issuer": settings.jwt_issuer,
        "clientId": settings.oidc_client_id,
        "scope": settings.oidc_scope,
        # Auth0 issues a JSON Web Token only to a client that names its audience; other issuers ignore it.
        "audience": next(iter(settings.jwt_audience), None),
    }


@functools.cache
def _version() -> str:
    return importlib.metadata.version("gql-api")
