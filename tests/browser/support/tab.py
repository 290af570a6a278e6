"""A browser tab that notes everything that a page must not do."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from front_end import AXE
from playwright.async_api import BrowserContext, ConsoleMessage, Page, Request

_SERIOUS = ("serious", "critical")
# The text that pages show of a violation is that of Chromium; this one names the directive too.
_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) =>
  console.error(`Content-Security-Policy: ${violatedDirective} forbids ${blockedURI}`));
"""

# Half-faded text has too little contrast. A spinner never ends.
_SETTLED = """
new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))).then(() =>
  Promise.all(document.getAnimations()
    .filter((each) => each.effect.getComputedTiming().endTime !== Infinity)
    .map((each) => each.finished.catch(() => null))))
"""


class Tab:
    """A tab of its own, without anything that other tests have stored.

    Args:
        context: the browser context of the tab.
        page: the page in it.
    """

    def __init__(self, context: BrowserContext, page: Page) -> None:
        self.context = context
        self.page = page
        self.faults: list[str] = []
        self.requests: list[str] = []
        self._origin = ""
        self._allowed: list[str] = []
        context.on("console", self._said)
        context.on("weberror", lambda error: self.faults.append(f"uncaught: {error.error}"))
        context.on("request", self._requested)

    @classmethod
    async def of(cls, context: BrowserContext) -> Tab:
        """Return a tab in a context."""
        await context.add_init_script(_VIOLATIONS)
        return cls(context, await context.new_page())

    async def open(self, url: str, path: str = "/") -> Page:
        """Open a page of a server; from now on, requests may go to this server only."""
        self._origin = url
        await self.page.goto(f"{url}{path}")
        return self.page

    def allow(self, *patterns: str) -> None:
        """Accept console messages of a kind, which the test itself brings about."""
        self._allowed += patterns

    def check(self) -> None:
        """Check that the pages did nothing that they must not do."""
        unexpected = [each for each in self.faults if not any(re.search(one, each) for one in self._allowed)]
        assert not unexpected, "\n".join(unexpected)

    async def check_accessible(self) -> None:
        """Check that axe finds no serious violation in the light and in the dark colours."""
        for scheme in ("light", "dark"):
            found = await self.violations(scheme)
            assert not found, f"in the {scheme} colours of {self.page.url}: {json.dumps(found, indent=1)}"

    async def violations(self, scheme: Any) -> list[dict[str, Any]]:
        """Return the serious violations that axe finds in a colour scheme."""
        await self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        await self.page.evaluate(_SETTLED)
        if not await self.page.evaluate("'axe' in window"):
            await self.page.evaluate(AXE.read_text())
        found = await self.page.evaluate("axe.run({ resultTypes: ['violations'] })")
        return [
            {"rule": each["id"], "help": each["help"], "nodes": [node["html"][:200] for node in each["nodes"]]}
            for each in found["violations"]
            if each["impact"] in _SERIOUS
        ]

    async def screenshot(self, path: Path) -> None:
        """Write what the tab shows into a file."""
        await self.page.screenshot(path=path)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.faults.append(f"{message.type} on the console: {message.text} ({message.location['url']})")

    def _requested(self, request: Request) -> None:
        self.requests.append(request.url)
        url = urlsplit(request.url)
        if url.scheme in {"data", "blob", "about"}:
            return
        if f"{url.scheme}://{url.netloc}" != self._origin:
            self.faults.append(f"a request to another origin: {request.url}")
