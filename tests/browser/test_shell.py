"""What surrounds every page: navigation, keys, colours, and pages that do not exist."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from playwright.async_api import Route, expect
from site_under_test import Site
from tab import Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")

_PAGES = ["Overview", "Tasks", "Create", "Queues", "Workers", "Task definitions"]
_HEADINGS = {"Create": "Create a task"}


async def test_the_navigation_leads_to_each_page(site: Site, tab: Tab) -> None:
    """Each page has a heading, its address is only the hash, and axe finds nothing serious in either scheme."""
    page = await tab.open(site.url)
    for name in reversed(_PAGES):
        await page.get_by_role("link", name=name, exact=True).click()
        await expect(page.get_by_role("heading", level=1)).to_have_text(_HEADINGS.get(name, name))
        assert page.url.startswith(f"{site.url}/#/")
        await expect(page.get_by_label("Loading")).to_have_count(0)
        await tab.check_accessible()


@pytest.mark.parametrize(
    "path",
    ["/", "/tasks", "/tasks/00000000-0000-4000-8000-000000000000", "/create", "/queues", "/workers", "/definitions"],
)
async def test_a_page_that_waits_for_answers_is_accessible(site: Site, tab: Tab, path: str) -> None:
    """While the answers of the server are held back, axe finds nothing serious in what stands in their place."""
    page = tab.page
    is_over = asyncio.Event()

    async def hold(route: Route) -> None:
        operation: Any = route.request.post_data_json
        if operation["operationName"] != "Viewer":
            await is_over.wait()
        await route.continue_()

    await page.route("**/graphql", hold)
    await tab.open(site.url, f"/#{path}")
    waiting = page.locator("main [aria-busy=true], main [role=status][aria-label^=Loading]")
    await expect(waiting.first).to_be_visible()
    await tab.check_accessible()
    await expect(waiting.first).to_be_visible()
    is_over.set()
    await expect(waiting).to_have_count(0)


async def test_an_unknown_page_says_so(site: Site, tab: Tab) -> None:
    """An address that leads nowhere shows a sentence with a way back."""
    page = await tab.open(site.url, "/#/nowhere?x=%E0")
    await expect(page.get_by_role("heading", level=1)).to_have_text("There is no such page")
    await page.get_by_role("main").get_by_role("link", name="overview").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
