"""What a test does on the page of a task."""

from __future__ import annotations

from collections.abc import Callable

from playwright.async_api import Page, expect


async def edit_metadata(page: Page, edit: Callable[[str], str]) -> None:
    """Change the text of the metadata, save it, and wait until the editor has closed: it shows unsaved values too."""
    await page.get_by_role("button", name="Edit metadata").click()
    text = page.get_by_label("Metadata as JSON")
    await text.fill(edit(await text.input_value()))
    await page.get_by_role("button", name="Save metadata").click()
    await expect(text).to_have_count(0)
