"""Operations that a test runs on the playground."""

from __future__ import annotations

from playwright.async_api import Page, expect


async def _run(page: Page) -> None:
    await page.get_by_role("button", name="Execute query").click()


async def run_examples(page: Page) -> None:
    """Create a task by the first example, and watch it to its end by the third, in which its id already is."""
    await expect(page.get_by_role("button", name="Execute query")).to_be_visible()
    result = page.get_by_role("region", name="Result Window")
    # Before its editor is there, GraphiQL drops a result.
    await expect(result).to_have_attribute("data-mode-id", "json")
    await _run(page)
    await expect(result).to_contain_text('"created": true')
    await page.get_by_role("tab", name="WatchTask").click()
    await _run(page)
    await expect(result).to_contain_text('"status": "SUCCESS"')
    await expect(result).to_contain_text("Worked 10 seconds on a big file")
    # The subscription has ended by itself: the button would stop it otherwise.
    await expect(page.get_by_role("button", name="Execute query")).to_be_visible()
