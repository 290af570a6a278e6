"""The first screen: failures that need attention appear by themselves, and are replayed or deleted together."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect
from redis import Redis
from site_under_test import Site
from support import wait_until
from tab import Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")


@contextlib.asynccontextmanager
async def _no_loads(page: Page) -> AsyncIterator[None]:
    """Let the failures that the page asks for arrive at the end of the block only."""
    is_over = asyncio.Event()

    async def hold(route: Route) -> None:
        operation: Any = route.request.post_data_json
        if operation["operationName"] in {"FailingNames", "FailuresOfName"}:
            await is_over.wait()
        await route.continue_()

    await page.route("**/graphql", hold)
    yield
    is_over.set()


async def test_failures_appear_and_are_replayed_together(site: Site, tab: Tab, redis: Redis) -> None:
    """Failures appear, grouped, before anything is loaded; "replay all" counts them, asks, and clears them."""
    until = str(uuid.uuid4())
    page = await tab.open(site.url)
    group = page.get_by_role("listitem").filter(has_text="billing.charge_card")
    region = page.get_by_role("region", name="Failures that need attention")
    await expect(region).to_have_attribute("aria-busy", "false")
    await expect(group).to_have_count(0)
    # An event that comes before the page is connected is made up for by a load.
    await expect(page.get_by_role("banner").get_by_role("status")).to_have_text("Live")
    card = {"customer": "cus-7", "amount": 12.5, "until": until}
    async with _no_loads(page):
        for shown in ("1 task", "2 tasks", "3 tasks"):
            assert site.api.finished(site.api.create("billing.charge_card", kwargs=card))["status"] == "FAILURE"
            # A failure can be read before its event is sent. If that comes after that of a later failure, the next load
            # counts it.
            await expect(group).to_contain_text(shown)
    await expect(group).to_contain_text("bank.example.com does not answer")
    await expect(group).to_contain_text("ConnectionError")
    await tab.check_accessible()
    redis.set(until, 1)
    await group.get_by_role("button", name="Replay all").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("Replay 3 tasks?")
    await tab.check_accessible()
    await dialog.get_by_role("button", name="Replay 3 tasks").click()
    await expect(dialog.get_by_role("status")).to_contain_text("3 tasks of 3 replayed")
    await dialog.get_by_role("button", name="Close").last.click()
    await expect(dialog).to_be_hidden()
    await expect(group).to_have_count(0)
    # A failure is cleared by the creation of its replay, which may end later.
    paid = '{ tasks(filter: { names: "billing.charge_card", statuses: SUCCESS }) { totalCount } }'
    wait_until(lambda: site.api.data(paid)["tasks"]["totalCount"] == 3)


async def test_deleting_failures_asks_first(site: Site, tab: Tab) -> None:
    """The button "Delete all" says how many tasks are meant, and deletes none before the answer."""
    tasks = [site.api.create("task_modules.fail", args=[f"reason {number}"]) for number in range(2)]
    for task in tasks:
        site.api.finished(task)
    page = await tab.open(site.url)
    group = page.get_by_role("listitem").filter(has_text="task_modules.fail")
    await group.get_by_role("button", name="Delete all").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_role("button", name="Keep")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(dialog).to_be_hidden()
    assert site.api.task(tasks[0])["status"] == "FAILURE"
    await group.get_by_role("button", name="Delete all").click()
    await dialog.get_by_role("button", name="Delete 2 tasks").click()
    await dialog.get_by_role("button", name="Close").last.click()
    await expect(group).to_have_count(0)


async def test_the_page_recovers_when_the_server_comes_back(site: Site, tab: Tab) -> None:
    """While the server is away the page says so; afterwards it shows by itself what has happened meanwhile."""
    tab.allow("ERR_CONNECTION_REFUSED", "WebSocket connection", "ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET")
    page = await tab.open(site.url)
    badge = page.get_by_role("banner").get_by_role("status")
    await expect(badge).to_have_text("Live")
    task_id = site.api.create("long_running_task", kwargs={"task_input": 1, "seconds": 3})
    site.server.stop()
    try:
        await expect(badge).to_contain_text("Reconnecting")
    finally:
        site.server.start()
    failed = site.api.create("task_modules.unserializable")
    await expect(badge).to_have_text("Live")
    site.api.finished(task_id)
    assert site.api.finished(failed)["status"] == "FAILURE"
    await expect(page.get_by_role("listitem").filter(has_text="task_modules.unserializable")).to_be_visible()
    site.api.data("mutation ($id: ID!) { deleteTask(id: $id) { userErrors { code } } }", id=failed)


async def test_a_part_that_could_not_be_loaded_comes_later(site: Site, tab: Tab) -> None:
    """The page stays while a file is missing, and loads itself anew, with the file, as soon as the server answers."""
    tab.allow("ERR_FAILED")
    aborted: list[str] = []

    async def abort(route: Route) -> None:
        aborted.append(route.request.url)
        await route.abort()

    await tab.page.route("**/assets/Charts-*.js", abort, times=1)
    page = await tab.open(site.url)
    await expect(page.locator("canvas").first).to_be_visible()
    assert aborted
    await expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
