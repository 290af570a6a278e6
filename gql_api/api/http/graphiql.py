"""GraphiQL's page, and the Content-Security-Policy that allows what this page needs and nothing else."""

from __future__ import annotations

import base64
import functools
import hashlib
import re

from starlette.responses import HTMLResponse
from strawberry.http.ides import get_graphql_ide_html

_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_SCRIPT_SOURCE = re.compile(r"<script\b[^>]*\bsrc=\"(https://[^\"]+)\"", re.DOTALL)
_STYLE_SOURCE = re.compile(r"<link\b[^>]*\bhref=\"(https://[^\"]+)\"", re.DOTALL)


@functools.cache
def _page() -> tuple[str, str]:
    """Return the page and its policy."""
    page = get_graphql_ide_html("graphiql")
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in _SCRIPT.findall(page)]
    scripts = [*_SCRIPT_SOURCE.findall(page), *(f"'sha256-{each}'" for each in hashes)]
    policy = {
        "default-src": "'none'",
        "script-src": " ".join(scripts),
        # Editors set the style of single elements.
        "style-src": " ".join([*_STYLE_SOURCE.findall(page), "'unsafe-inline'"]),
        "font-src": "data:",
        "img-src": "data:",
        # WebSockets too.
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return page, "; ".join(f"{name} {sources}" for name, sources in policy.items())


def graphiql() -> HTMLResponse:
    """Return GraphiQL."""
    page, policy = _page()
    return HTMLResponse(page, headers={"Content-Security-Policy": policy})
