"""The Tasks page as people arrange it: columns of their own, saved views, and actions for all that a search finds."""

from __future__ import annotations

import json
import uuid
from urllib.parse import unquote

import pytest
from playwright.async_api import Page, expect
from site_under_test import Site
from tab import Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def _add_column(page: Page, name: str) -> None:
    await page.get_by_label("A column from metadata, kwargs or progress").fill(name)
    await page.keyboard.press("Enter")


async def test_columns_and_views_are_kept(site: Site, tab: Tab) -> None:
    """Columns of one's own are in the address; a view that is saved with them opens again, and can be deleted."""
    run = str(uuid.uuid4())
    metadata = {"run": run, "customer": {"tier": "gold"}}
    site.api.finished(site.api.create("orders.import", kwargs={"file": "monday.csv", "rows": 2}, metadata=metadata))
    page = await tab.open(site.url, f'/#/tasks?q=metadata.run:"{run}"')
    cells = page.get_by_role("table", name="Tasks").get_by_role("cell")
    await page.get_by_role("button", name="Columns").click()
    for name in ("metadata.customer.tier", "kwargs.file", "progress.total"):
        await _add_column(page, name)
        await expect(page.get_by_role("columnheader", name=name)).to_be_visible()
    await page.get_by_role("button", name="Remove Queue").click()
    await page.get_by_role("button", name="Move kwargs.file to the left").click()
    await tab.check_accessible()
    await page.keyboard.press("Escape")
    await page.reload()
    await expect(cells.filter(has_text="gold")).to_be_visible()
    await expect(cells.filter(has_text="monday.csv")).to_be_visible()
    heads = await page.get_by_role("columnheader").all_text_contents()
    assert heads[-3:] == ["kwargs.file", "metadata.customer.tier", "progress.total"]
    assert "Queue" not in heads
    views = page.get_by_role("button", name="Views")
    await views.click()
    await page.get_by_label("Save this view as").fill("Monday")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Monday", exact=True)).to_be_visible()
    await tab.check_accessible()
    await page.get_by_role("button", name="Running now").click()
    await expect(page.get_by_label("Search tasks")).to_have_value("status:STARTED")
    await page.reload()
    await views.click()
    await page.get_by_role("button", name="Monday", exact=True).click()
    await expect(cells.filter(has_text="gold")).to_be_visible()
    assert "kwargs.file,metadata.customer.tier,progress.total" in unquote(page.url)
    await views.click()
    await page.get_by_role("button", name="Rename the view Monday").click()
    await page.get_by_label("New name of the view Monday").fill("Tuesday")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Monday", exact=True)).to_have_count(0)
    await page.get_by_role("button", name="Delete the view Tuesday").click()
    await expect(page.get_by_role("button", name="Tuesday", exact=True)).to_have_count(0)


async def test_actions_are_for_all_that_the_search_finds(site: Site, tab: Tab) -> None:
    """The key r counts what is found, and replays it after the answer; without an answer, nothing changes."""
    run = str(uuid.uuid4())
    tasks = [site.api.create("task_modules.add", args=[number], metadata={"run": run}) for number in range(3)]
    for task in tasks:
        site.api.finished(task)
    page = await tab.open(site.url, f'/#/tasks?q=metadata.run:"{run}"+status:SUCCESS')
    lines = page.get_by_role("checkbox", name="Select task_modules.add")
    await expect(lines).to_have_count(3)
    await page.get_by_role("heading", level=1).click()
    dialog = page.get_by_role("dialog")
    await page.keyboard.press("r")
    await expect(dialog).to_contain_text("Replay 3 tasks?")
    await expect(dialog.get_by_role("button", name="Do not replay")).to_be_focused()
    await tab.check_accessible()
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    await expect(lines).to_have_count(3)
    await page.keyboard.press("r")
    await dialog.get_by_role("button", name="Replay 3 tasks").click()
    await expect(dialog.get_by_role("status")).to_contain_text("3 tasks of 3 replayed")
    await dialog.get_by_role("button", name="Close").last.click()
    await expect(lines).to_have_count(6)
    found = {"metadata": [{"path": "run", "eq": run}], "isReplayed": True}
    replayed = site.api.data("query ($filter: TaskFilter) { tasks(filter: $filter) { totalCount } }", filter=found)
    assert replayed == {"tasks": {"totalCount": 3}}
    await page.get_by_label("Search tasks").fill(f'metadata.run:"{run}" replayed:no')
    await page.keyboard.press("Enter")
    await expect(lines).to_have_count(3)
    assert json.dumps(run) in unquote(page.url)
