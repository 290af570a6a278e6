"""Makes the screenshots of the documentation: `make screenshots`.

It runs the servers and a worker, creates the tasks of an invented shop, and opens each page in a headless Chromium, in
light and dark colours, on a desktop and on a phone. The documentation shows some of them, in docs/images.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

# Run as a program, this module has the folders of the tests' helpers to find first, as pytest has from pyproject.toml.
_SUPPORT = Path(__file__).parent
sys.path[:0] = [str(_SUPPORT), str(_SUPPORT.parents[1] / "helpers")]

from front_end import find_chromium  # noqa: E402 - found in the folders above
from playwright.async_api import Page, async_playwright  # noqa: E402
from site_under_test import Site, running_site  # noqa: E402
from support import HELPERS, Api, process, wait_until  # noqa: E402

from gql_api.cli.embedded_servers import MongodbServer, RedisServer, free_port, is_listening  # noqa: E402

_SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
_SETTLE_MS = 1_500


@contextmanager
def _shop(folder: Path) -> Iterator[Site]:
    mongodb, redis = MongodbServer(folder / "mongodb", free_port()), RedisServer(folder / "redis", free_port())
    with ExitStack() as stack:
        stack.enter_context(process(mongodb.command(folder / "mongod.log"), folder / "mongodb.log"))
        stack.enter_context(process(redis.command(), folder / "redis.log"))
        wait_until(lambda: is_listening(mongodb.port) and is_listening(redis.port))
        mongodb.initiate()
        environment = {
            "MONGODB_URL": mongodb.url,
            "CELERY_BROKER_URL": redis.url,
            "TASK_MODULES": "board_tasks",
            "PYTHONPATH": f"{HELPERS}:{_SUPPORT}",
        }
        yield stack.enter_context(running_site(environment, folder))


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
    card = {"customer": "cus-0003", "amount": 249.0, "until": "the bank answers"}
    failed = api.create("billing.charge_card", kwargs=card, metadata={"customer": {"name": "acme"}})
    api.finished(failed)
    running = api.create(
        "orders.import",
        kwargs={"file": "black-friday.csv", "rows": 20, "gate": "gate"},
        metadata={"customer": {"id": "cus-0004", "name": "acme"}, "batch": 17},
    )
    api.create("orders.import", kwargs={"file": "night.csv"}, scheduledFor="2027-01-01T02:00:00+00:00")
    return {"running": running, "failed": failed}


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
    await page.wait_for_timeout(_SETTLE_MS)
    await page.screenshot(path=file)


def main() -> None:
    """Make the screenshots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, _shop(Path(scratch)) as site:
        ids = _seed(site.api)
        pages = {
            "overview": "/",
            "tasks": "/#/tasks",
            "task": f"/#/tasks/{ids['running']}",
            "failure": f"/#/tasks/{ids['failed']}",
            "create": "/#/create",
            "queues": "/#/queues",
            "workers": "/#/workers",
            "definitions": "/#/definitions",
            "playground": "/graphql",
        }
        asyncio.run(_take(site, pages, folder))


if __name__ == "__main__":
    main()
