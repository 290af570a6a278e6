"""What the page of a task does to it: another start time, an end with its children, a replay."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from playwright.async_api import Page, expect
from site_under_test import Site
from support import wait_until
from tab import Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")

_TOKYO = "Asia/Tokyo"


async def _open(tab: Tab, site: Site, task_id: str) -> Page:
    return await tab.open(site.url, f"/#/tasks/{task_id}")


async def test_a_task_is_rescheduled_in_a_time_zone(site: Site, tab: Tab) -> None:
    """What is chosen stays while the task changes, its moment and zone stand beside it, and that is stored."""
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    task_id = site.api.create("task_modules.add", args=[1], scheduledFor=soon)
    page = await _open(tab, site, task_id)
    await page.get_by_role("button", name="Reschedule").click()
    dialog = page.get_by_role("dialog", name="Reschedule this task")
    zone = dialog.get_by_role("combobox", name="Time zone")
    await zone.fill("Tokyo")
    await page.get_by_role("option", name=_TOKYO).click()
    chosen = dialog.get_by_label("Start time")
    await chosen.fill("2099-03-01T06:30:15")
    await dialog.get_by_role("button", name="Reschedule").click()
    await expect(page.get_by_role("alert")).to_contain_text("Not rescheduled")
    await expect(chosen).to_have_value("2099-03-01T06:30:15")
    year = datetime.now(UTC).year + 2
    await chosen.fill(f"{year}-03-01T06:30:15")
    # The moment, in the zone of the browser.
    await expect(dialog).to_contain_text(re.compile(r"20\d\d.*GMT.*, in \d+ d"))
    site.api.data(
        'mutation ($id: ID!) { updateTaskMetadata(id: $id, operations: [{op: SET, path: "note", value: 1}])'
        " { userErrors { code } } }",
        id=task_id,
    )
    await expect(page.get_by_text("Revision 2")).to_be_attached()
    await expect(chosen).to_have_value(f"{year}-03-01T06:30:15")
    await expect(zone).to_have_value(_TOKYO)
    await tab.check_accessible()
    await dialog.get_by_role("button", name="Reschedule").click()
    await expect(dialog).to_be_hidden()
    await expect(page.get_by_role("list", name="Changes of the task")).to_contain_text("Rescheduled")
    asked = site.api.data("query ($id: ID!) { task(id: $id) { scheduledFor status } }", id=task_id)["task"]
    assert datetime.fromisoformat(asked["scheduledFor"]) == datetime(year, 3, 1, 6, 30, 15, tzinfo=ZoneInfo(_TOKYO))
    assert asked["status"] == "SCHEDULED"


async def test_a_parent_is_cancelled_with_its_children(site: Site, tab: Tab) -> None:
    """The children are shown, and end with their parent when that is asked for."""
    parent = site.api.create("long_running_task", kwargs={"task_input": 1, "seconds": 600})
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    children = [
        site.api.create("task_modules.add", args=[number], parentId=parent, scheduledFor=later) for number in range(2)
    ]
    wait_until(lambda: site.api.task(parent)["status"] == "STARTED")
    page = await _open(tab, site, parent)
    await page.get_by_role("tab", name="Related tasks").click()
    family = page.get_by_role("list", name="Children")
    await expect(family.get_by_text("SCHEDULED")).to_have_count(2)
    await page.get_by_role("button", name="Cancel", exact=True).click()
    dialog = page.get_by_role("dialog", name="Cancel this task?")
    await dialog.get_by_label("Cancel its unfinished children too").check()
    await dialog.get_by_role("button", name="Cancel the task").click()
    await expect(dialog).to_be_hidden()
    await expect(family.get_by_text("REVOKED")).to_have_count(2)
    await expect(page.get_by_role("main").get_by_text("REVOKED", exact=True)).to_have_count(3)
    assert [site.api.task(child)["status"] for child in children] == ["REVOKED", "REVOKED"]


async def test_a_task_is_replayed_as_it_was(site: Site, tab: Tab) -> None:
    """The replay has the same arguments and metadata, and each page names the other."""
    run = str(uuid.uuid4())
    first = site.api.create("task_modules.echo", args=[1], kwargs={"to": "x"}, metadata={"run": run})
    site.api.finished(first)
    page = await _open(tab, site, first)
    await page.get_by_role("button", name="Replay", exact=True).click()
    await page.get_by_role("menuitem", name="As it was").click()
    dialog = page.get_by_role("dialog", name="Replay this task?")
    await expect(dialog.get_by_role("button", name="Do not replay")).to_be_focused()
    await tab.check_accessible()
    await dialog.get_by_role("button", name="Replay as it was").click()
    await expect(page).not_to_have_url(f"{site.url}/#/tasks/{first}")
    await expect(page.get_by_role("region", name="Metadata", exact=True)).to_contain_text(run)
    await expect(page.get_by_role("region", name="Arguments", exact=True)).to_contain_text('"x"')
    await expect(page.get_by_role("main").get_by_text("SUCCESS", exact=True).first).to_be_visible()
    await page.get_by_role("tab", name="Related tasks").click()
    await page.get_by_role("region", name="Parents and children").get_by_role("link", name="task_modules.echo").click()
    await expect(page).to_have_url(f"{site.url}/#/tasks/{first}")
