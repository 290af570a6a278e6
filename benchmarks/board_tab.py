"""A browser tab that is measured: what it transfers, when it can be used, and how long it blocks."""

from __future__ import annotations

import asyncio
import shutil
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from playwright.async_api import Browser, Page, async_playwright
from tables import Figures

_CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
_WIDTH, _HEIGHT = 1280, 800
_KEY_SECONDS = 0.5
# No page has a use for it.
_KEY = "F9"
_WHEEL_PIXELS = 1_500
_ROW_PIXELS = 40
_SCROLL_SECONDS = 45
_TABLE = "[role=table][aria-label=Tasks]"

_OBSERVERS = """
performance.setResourceTimingBufferSize(5000);
window.seen = { tasks: [], frames: [], keys: [] };
const observe = (type, into, options) => new PerformanceObserver((list) =>
  window.seen[into].push(...list.getEntries().map(({ duration }) => duration))).observe({ type, ...options });
observe("longtask", "tasks");
observe("event", "keys", { durationThreshold: 16 });
let before = performance.now();
requestAnimationFrame(function frame(now) {
  window.seen.frames.push(now - before);
  before = now;
  requestAnimationFrame(frame);
});
window.drawn = (selector) => new Promise((resolve) => requestAnimationFrame(function frame() {
  if (document.querySelector(selector)) requestAnimationFrame(() => resolve(performance.now()));
  else requestAnimationFrame(frame);
}));
"""
_FIRST_USE = """async ([data, target, answer]) => {
  const drawn = await window.drawn(data);
  await window.drawn(target);
  document.querySelector(target).click();
  return [drawn, await window.drawn(answer)];
}"""
_TRANSFERS = """() => {
  const all = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
  return [all.reduce((sum, { transferSize }) => sum + transferSize, 0), all.length];
}"""
_DRAWN_LINK = "(id) => window.drawn(`a[href$='${id}']`).then((at) => performance.timeOrigin + at)"
_SCROLL_HEIGHT = f"document.querySelector('{_TABLE}')?.parentElement.scrollHeight ?? 0"
_LOAD_ROWS = f"""async (height) => {{
  const scroll = document.querySelector("{_TABLE}").parentElement;
  while (scroll.scrollHeight < height) {{
    scroll.scrollTo(0, scroll.scrollHeight);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }}
  scroll.scrollTo(0, 0);
}}"""


@dataclass(frozen=True)
class Place:
    """A page.

    Args:
        path: its address.
        data: a selector of what it has only once its first data are drawn.
        target: what is clicked then.
        answer: what it has once it has answered the click.
    """

    path: str
    data: str
    target: str = "button[aria-label=Keys]"
    answer: str = "[role=dialog]"


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
        url: the origin.
    """

    def __init__(self, page: Page, url: str) -> None:
        self._page, self._url = page, url

    @classmethod
    @asynccontextmanager
    async def opened(cls, browser: Browser, url: str) -> AsyncIterator[Tab]:
        """Open a tab until the block ends."""
        context = await browser.new_context(viewport={"width": _WIDTH, "height": _HEIGHT})
        await context.add_init_script(_OBSERVERS)
        yield cls(await context.new_page(), url)
        await context.close()

    async def open(self, place: Place) -> Figures:
        """Open a page, and return what it took until its first data were drawn, and until it had answered a click."""
        await self._page.goto(f"{self._url}{place.path}", wait_until="commit")
        drawn, answered = await self._page.evaluate(_FIRST_USE, [place.data, place.target, place.answer])
        await self._page.wait_for_load_state("networkidle")
        transferred, requests = await self._page.evaluate(_TRANSFERS)
        await self._page.keyboard.press("Escape")
        return {
            "KiB transferred": transferred / 1024,
            "requests": requests,
            "first data drawn, ms": drawn,
            "first click answered, ms": answered,
        }

    async def watch(self, seconds: float) -> Figures:
        """Measure while a key is pressed now and then."""
        await self._begin()
        until = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < until:
            await self._page.keyboard.press(_KEY)
            await asyncio.sleep(_KEY_SECONDS)
        return await self._end()

    async def scroll_down(self, rows: int) -> Figures:
        """Measure while the list of tasks is scrolled down until it has so many rows, for 45 s at most."""
        await self._page.mouse.move(_WIDTH / 2, _HEIGHT / 2)
        await self._begin()
        height, began = 0, time.monotonic()
        while height < rows * _ROW_PIXELS and time.monotonic() < began + _SCROLL_SECONDS:
            await self._page.mouse.wheel(0, _WHEEL_PIXELS)
            await self._page.keyboard.press(_KEY)
            height = await self._page.evaluate(_SCROLL_HEIGHT)
        return await self._end()

    async def load_rows(self, rows: int) -> None:
        """Load so many rows into the list of tasks, and return to its top: nobody reads, and new rows appear."""
        await self._page.evaluate(_LOAD_ROWS, rows * _ROW_PIXELS)

    async def drawn_at(self, task: str) -> float:
        """Wait until a link to a task is drawn, and return the time: milliseconds of the epoch."""
        return float(await self._page.evaluate(_DRAWN_LINK, task))

    async def _begin(self) -> None:
        await self._page.evaluate("Object.values(window.seen).forEach((each) => each.splice(0))")

    async def _end(self) -> Figures:
        seen: dict[str, list[float]] = await self._page.evaluate("window.seen")
        frames, tasks, keys = (sorted(seen[name]) for name in ("frames", "tasks", "keys"))
        return {
            "rows in memory": await self._page.evaluate(_SCROLL_HEIGHT) // _ROW_PIXELS,
            "long tasks": len(tasks),
            "longest task, ms": max(tasks, default=0),
            "blocked by long tasks, share": sum(tasks) / sum(frames),
            "frame, median, ms": statistics.median(frames),
            "frame, 99th percentile, ms": frames[len(frames) * 99 // 100],
            "longest frame, ms": frames[-1],
            "key until its frame, longest, ms": max(keys, default=0),
        }
