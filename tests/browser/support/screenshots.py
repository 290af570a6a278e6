"""Makes the screenshots of the documentation: `make screenshots`.

It runs the servers and a worker, creates the tasks of an invented shop, and opens each page in a headless Chromium, in
light and dark colours, on a desktop and on a phone. Those that the documentation shows are copied to docs/images.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

# Run as a program, this module has the folders of the tests' helpers to find first, as pytest has from pyproject.toml.
_SUPPORT = Path(__file__).parent
_PROJECT = _SUPPORT.parents[2]
_IMAGES = _PROJECT / "docs" / "images"
sys.path[:0] = [str(_SUPPORT), str(_PROJECT / "tests" / "helpers"), str(_PROJECT / "benchmarks")]

from bson.datetime_ms import DatetimeMS  # noqa: E402 - as those below
from front_end import find_chromium  # noqa: E402 - found in the folders above
from made import CHUNK, END_MS, Chunk  # noqa: E402
from playwright.async_api import Page, async_playwright, expect  # noqa: E402
from pymongo import MongoClient  # noqa: E402
from redis import Redis  # noqa: E402
from site_under_test import Site, running_site  # noqa: E402
from support import HELPERS, Api, process, wait_until  # noqa: E402

from gql_api.cli.embedded_servers import MongodbServer, RedisServer, free_port, is_listening  # noqa: E402
from gql_api.record import fields  # noqa: E402
from gql_api.record.fields import FINAL_NAMES  # noqa: E402

_DATABASE = "shop"
_GATE = "gate"
# 1,500 tasks a day.
_TOTAL = 90 * 1_500
_SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
# For what is drawn after it was loaded: charts and editors.
_SETTLE_MS = 1_500
_ROWS, _ROWS_DONE = 20, 9


@contextmanager
def _shop(folder: Path) -> Iterator[Site]:
    mongodb, redis = MongodbServer(folder / "mongodb", free_port()), RedisServer(folder / "redis", free_port())
    with ExitStack() as stack:
        stack.enter_context(process(mongodb.command(folder / "mongod.log"), folder / "mongodb.log"))
        stack.enter_context(process(redis.command(), folder / "redis.log"))
        wait_until(lambda: is_listening(mongodb.port) and is_listening(redis.port))
        mongodb.initiate()
        _fill(mongodb.url)
        environment = {
            "MONGODB_URL": mongodb.url,
            "MONGODB_DATABASE": _DATABASE,
            "CELERY_BROKER_URL": redis.url,
            "TASK_MODULES": "board_tasks",
            "PYTHONPATH": f"{HELPERS}:{_SUPPORT}",
        }
        yield stack.enter_context(running_site(environment, folder))


def _fill(url: str) -> None:
    """Store the finished tasks of the last day, which begins the history that the charts show."""
    now = DatetimeMS(int(time.time() * 1_000))
    past = [_moved(each, int(now) - END_MS) for each in Chunk(_TOTAL - CHUNK, CHUNK, _TOTAL, 7).documents()]
    with MongoClient[dict[str, Any]](url) as client:
        finished = [each for each in past if each[fields.STATUS] in FINAL_NAMES and each[fields.UPDATED_AT] < now]
        client[_DATABASE][fields.TASKS].insert_many(finished)


def _moved(value: Any, by_ms: int) -> Any:
    """Return a document with all its times moved."""
    if isinstance(value, DatetimeMS):
        return DatetimeMS(int(value) + by_ms)
    if isinstance(value, dict):
        return {name: _moved(each, by_ms) for name, each in value.items()}
    return [_moved(each, by_ms) for each in value] if isinstance(value, list) else value


def _seed(api: Api) -> dict[str, str]:
    """Create the tasks, and return the ids of those that have a page of their own."""
    customers = ("acme", "globex", "initech", "umbrella")
    for number in range(40):
        metadata = {"customer": {"id": f"cus-{number % 7:04}", "name": customers[number % 4]}, "order": 4700 + number}
        card = {"customer": f"cus-{number % 7:04}", "amount": 19.9 + number}
        broken = {"until": "the bank answers"} if number % 9 == 0 else {}
        api.create("billing.charge_card", kwargs={**card, **broken}, metadata=metadata)
        if number % 2:
            api.create("orders.import", kwargs={"file": f"shop-{number:02}.csv"}, metadata=metadata)
    running = api.create(
        "orders.import",
        kwargs={"file": "black-friday.csv", "rows": _ROWS, "gate": _GATE},
        metadata={"customer": {"id": "cus-0004", "name": "acme"}, "batch": 17},
    )
    api.create("orders.import", kwargs={"file": "night.csv"}, scheduledFor="2027-01-01T02:00:00+00:00")
    wait_until(lambda: api.task(running)["status"] == "STARTED")
    # Three more occupy the worker, and the rest waits.
    for number in range(9):
        gates = {"rows": 100, "gate": f"gate {number}"}
        api.create("orders.import", kwargs={"file": f"year-{2017 + number}.csv", **gates}, metadata={"batch": 18})
    declined = api.data('{ tasks(first: 1, filter: {errorTypes: ["PaymentDeclinedError"]}) { nodes { id } } }')
    return {"running": running, "failed": declined["tasks"]["nodes"][0]["id"]}


async def _take(site: Site, pages: dict[str, str], folder: Path) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_chromium(), args=["--disable-gpu"])
        for size, viewport in _SIZES.items():
            for scheme in ("light", "dark"):
                options: Any = {"viewport": viewport, "color_scheme": scheme, "reduced_motion": "reduce"}
                page = await browser.new_page(**options)
                for name, path in pages.items():
                    await _one(page, f"{site.url}{path}", folder / f"{name}-{size}-{scheme}.png")
                await page.context.close()
        await browser.close()


async def _one(page: Page, url: str, file: Path) -> None:
    # A new document, not another hash of the same one.
    await page.goto("about:blank")
    await page.goto(url, wait_until="load")
    for loading in (page.get_by_label("Loading"), page.locator("[aria-busy=true]")):
        await expect(loading).to_have_count(0)
    await page.wait_for_timeout(_SETTLE_MS)
    await page.screenshot(path=file)


def main() -> None:
    """Make the screenshots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    for each in (folder, _IMAGES):
        each.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, _shop(Path(scratch)) as site:
        ids = _seed(site.api)
        with Redis.from_url(site.environment["CELERY_BROKER_URL"]) as redis:
            redis.lpush(_GATE, *range(_ROWS_DONE))
        pages = {
            "overview": "/",
            "tasks": "/#/tasks",
            "task": f"/#/tasks/{ids['running']}",
            "failure": f"/#/tasks/{ids['failed']}",
            "create": "/#/create?name=orders.import",
            "queues": "/#/queues",
            "workers": "/#/workers",
            "definitions": "/#/definitions",
            "playground": "/graphql",
        }
        asyncio.run(_take(site, pages, folder))
    for name in _shown():
        shutil.copy(folder / name, _IMAGES / name)


def _shown() -> set[str]:
    """Return the names of the images that the documentation shows."""
    texts = [path.read_text() for path in (_PROJECT / "README.md", *(_PROJECT / "docs").glob("*.md"))]
    return {name for text in texts for name in re.findall(rf"{_IMAGES.name}/([\w-]+\.png)", text)}


if __name__ == "__main__":
    main()
