"""A browser tab that is measured: what it transfers, when it can be used, and how long it blocks."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, CDPSession, Page, WebSocket, async_playwright
from tables import Figures

PAGES = {"Overview": "/", "Tasks": "/#/tasks", "Playground": "/graphql"}
_CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
_LONG_FRAME_MS = 50
_WIDTH, _HEIGHT = 1280, 800
_OBSERVERS = """
window.seen = { longTasks: [], frames: [], inputs: [] };
const observe = (type, into, options) => new PerformanceObserver((list) =>
  window.seen[into].push(...list.getEntries().map(({ duration }) => duration))).observe({ type, ...options });
observe("longtask", "longTasks");
observe("event", "inputs", { durationThreshold: 16 });
let before = performance.now();
requestAnimationFrame(function frame(now) {
  window.seen.frames.push(now - before);
  before = now;
  requestAnimationFrame(frame);
});
"""


@asynccontextmanager
async def opened_browser() -> AsyncIterator[Browser]:
    """Run Chromium until the block ends.

    Raises:
        SystemExit: Chromium is not installed.
    """
    path = next(filter(None, map(shutil.which, _CHROMIUMS)), None)
    if path is None:
        raise SystemExit("Chromium is not installed: Debian's package is `chromium`")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=["--disable-gpu"])
        yield browser
        await browser.close()


class Tab:
    """A tab with an empty cache.

    Args:
        page: the page in it.
        network: the protocol of Chromium, which knows the transferred bytes.
        url: the origin.
    """

    def __init__(self, page: Page, network: CDPSession, url: str) -> None:
        self._page, self._network, self._url = page, network, url
        self._bytes = 0.0
        self._requests = self._frames = 0
        network.on("Network.loadingFinished", self._loaded)
        page.on("request", self._requested)
        page.on("websocket", self._connected)

    @classmethod
    async def of(cls, browser: Browser, url: str) -> Tab:
        """Return a new tab."""
        page = await browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT})
        await page.add_init_script(_OBSERVERS)
        network = await page.context.new_cdp_session(page)
        await network.send("Network.enable")
        return cls(page, network, url)

    async def open(self, path: str) -> Figures:
        """Open a page, and return what it took until it answers a key, or can run an operation."""
        await self._page.goto(f"{self._url}{path}", wait_until="commit")
        if path == PAGES["Playground"]:
            await self._page.get_by_role("button", name="Execute query").wait_for()
        else:
            await self._page.get_by_role("heading", level=1).wait_for()
            await self._page.keyboard.press("?")
            await self._page.get_by_role("dialog", name="Keys").wait_for()
        usable = await self._page.evaluate("performance.now()")
        await self._page.wait_for_load_state("networkidle")
        transferred = self._bytes
        if path != PAGES["Playground"]:
            await self._page.keyboard.press("Escape")
        return {"KiB transferred": transferred / 1024, "ms until it can be used": usable}

    async def begin(self) -> None:
        """Begin to measure."""
        self._requests = self._frames = 0
        await self._page.evaluate("Object.values(window.seen).forEach((each) => each.splice(0))")
        self._heap = await self._heap_mib()

    async def use(self) -> None:
        """Scroll the page, and move the selection of a list."""
        await self._page.mouse.move(_WIDTH / 2, _HEIGHT / 2)
        await self._page.mouse.wheel(0, 300)
        await self._page.keyboard.press("j")

    async def end(self) -> Figures:
        """Return what was measured."""
        requests, received = self._requests, self._frames
        seen: dict[str, list[float]] = await self._page.evaluate("window.seen")
        frames, long, inputs = (sorted(seen[name]) for name in ("frames", "longTasks", "inputs"))
        return {
            "messages received": received,
            "requests": requests,
            "long tasks": len(long),
            "longest task, ms": max(long, default=0),
            "blocked by long tasks, share": sum(long) / max(1, sum(frames)),
            "frame, median, ms": statistics.median(frames),
            "frame, 99th percentile, ms": frames[len(frames) * 99 // 100],
            f"frames over {_LONG_FRAME_MS} ms, share": sum(each > _LONG_FRAME_MS for each in frames) / len(frames),
            "key until its frame, longest, ms": max(inputs, default=0),
            "growth of the heap, MiB": await self._heap_mib() - self._heap,
        }

    async def close(self) -> None:
        """Close the tab."""
        await self._page.context.close()

    async def _heap_mib(self) -> float:
        await self._network.send("HeapProfiler.collectGarbage")
        usage: dict[str, Any] = await self._network.send("Runtime.getHeapUsage")
        return float(usage["usedSize"]) / 2**20

    def _loaded(self, event: dict[str, Any]) -> None:
        self._bytes += event["encodedDataLength"]

    def _requested(self, _request: object) -> None:
        self._requests += 1

    def _connected(self, socket: WebSocket) -> None:
        socket.on("framereceived", self._received)

    def _received(self, _payload: object) -> None:
        self._frames += 1
