"""The playground: without any network beyond its origin, it runs what it offers."""

from __future__ import annotations

import pytest
from playground_page import run_examples
from playwright.async_api import expect
from site_under_test import Site
from tab import Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_examples_run(site: Site, tab: Tab) -> None:
    """A mutation creates a task, and a subscription watches it to its end."""
    page = await tab.open(site.url, "/graphql")
    assert await page.title() == "gql-api playground"
    await run_examples(page)


async def test_the_explorer_and_the_documentation_know_the_schema(site: Site, tab: Tab) -> None:
    """The schema that the server describes is in both panes."""
    page = await tab.open(site.url, "/graphql")
    await page.get_by_role("button", name="Show Documentation Explorer").click()
    await page.get_by_role("link", name="Subscription", exact=True).click()
    await expect(page.get_by_text("taskUpdated", exact=True).first).to_be_visible()
    await page.get_by_role("button", name="Show GraphiQL Explorer").click()
    await expect(page.get_by_text("createTasks", exact=True).first).to_be_visible()
