"""GraphiQL's page and its Content-Security-Policy."""

from __future__ import annotations

import base64
import hashlib
import re

import httpx
from front import Front


async def test_the_policy_of_graphiql_allows_what_the_page_has(front: Front) -> None:
    """Each script and style sheet of the page is named, inline scripts by their hash, and nobody may frame the page."""
    transport = httpx.ASGITransport(front.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        page = await client.get("/graphql", headers={"Accept": "text/html"})
    (policy,) = page.headers.get_list("content-security-policy")
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", page.text, re.DOTALL)
    styles = re.findall(r'<link[^>]*rel="stylesheet"[^>]*href="([^"]+)"', page.text)
    assert (len(scripts), len(styles)) == (6, 2)
    for attributes, text in scripts:
        source = re.search(r'src="([^"]+)"', attributes)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert (source[1] if source else f"'sha256-{digest}'") in rules["script-src"]
    assert set(styles) <= set(rules["style-src"])
    assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == rules["form-action"] == ["'none'"]
    assert rules["connect-src"] == ["'self'"]
    assert "'unsafe-inline'" not in rules["script-src"]
