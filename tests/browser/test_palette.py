"""The command palette, by the keyboard only."""

from __future__ import annotations

import pytest
from playwright.async_api import expect
from site_under_test import Site
from tab import Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_palette_leads_everywhere_by_the_keyboard(site: Site, tab: Tab) -> None:
    """Ctrl+K opens it; a word leads to a page, an id to its task, and the page's own commands run."""
    task_id = site.api.create("task_modules.add", args=[1])
    site.api.finished(task_id)
    page = await tab.open(site.url, "/#/workers")
    heading = page.get_by_role("heading", level=1)
    box = page.get_by_role("searchbox", name="Commands").or_(page.get_by_role("textbox", name="Commands"))
    await expect(heading).to_have_text("Workers")
    await page.keyboard.press("Control+k")
    await expect(box).to_be_focused()
    await tab.check_accessible()
    await page.keyboard.type("over")
    await page.keyboard.press("Enter")
    await expect(heading).to_have_text("Overview")
    await page.keyboard.press("Control+k")
    await expect(box).to_be_focused()
    await expect(box).to_have_value("")
    await page.keyboard.insert_text(f" {task_id} ")
    await page.keyboard.press("Enter")
    await expect(heading).to_have_text("task_modules.add")
    await page.keyboard.press("Control+k")
    await expect(box).to_be_focused()
    await expect(box).to_have_value("")
    await page.keyboard.type("delete this")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog", name="Delete this task?")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.keyboard.press("Control+k")
    await expect(box).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(box).to_be_hidden()


async def test_the_palette_opens_from_a_field(site: Site, tab: Tab) -> None:
    """Ctrl+K opens the palette while the search has the focus, and Escape leaves the search as it was."""
    page = await tab.open(site.url, "/#/tasks")
    search, box = page.get_by_label("Search tasks"), page.get_by_role("textbox", name="Commands")
    await search.click()
    await page.keyboard.press("Control+k")
    await expect(box).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(box).to_be_hidden()
    await expect(search).to_have_value("")
