"""The page of a task: its life as it happens, what can be done with it, and values that pages like to spoil."""

from __future__ import annotations

import re
import uuid

import pytest
from markup_tasks import MARKUP
from playwright.async_api import Page, expect
from redis import Redis
from site_under_test import Site
from support import wait_until
from tab import Tab
from task_page import edit_metadata

pytestmark = pytest.mark.asyncio(loop_scope="session")

_LARGE = 2**53 + 1
_DELETE = "mutation ($id: ID!) { deleteTask(id: $id) { deletedTaskId } }"
_SET_TEAM = """mutation ($id: ID!) {
  updateTaskMetadata(id: $id, operations: [{op: SET, path: "team", value: "blue"}]) { task { id } }
}"""


async def _open(tab: Tab, site: Site, task_id: str) -> Page:
    return await tab.open(site.url, f"/#/tasks/{task_id}")


async def test_a_task_is_watched_to_its_end(site: Site, tab: Tab, redis: Redis) -> None:
    """The progress moves with each report, the log grows, and the end appears, all without a reload."""
    gate = str(uuid.uuid4())
    task_id = site.api.create("orders.import", kwargs={"file": "monday.csv", "rows": 4, "gate": gate})
    page = await _open(tab, site, task_id)
    await expect(page.get_by_role("heading", level=1)).to_have_text("orders.import")
    await expect(page.get_by_role("main").get_by_text("STARTED", exact=True).first).to_be_visible()
    progress = page.get_by_role("progressbar", name="Progress")
    for row in (1, 2, 3):
        redis.lpush(gate, 1)
        await expect(progress).to_have_attribute("aria-valuenow", str(25 * row))
        await expect(page.get_by_text(f"row {row} of 4")).to_be_visible()
    # Waiting and running look different in the built styles.
    waiting, running = (page.locator(f"[data-phase={phase}]").last for phase in ("queued", "running"))
    await expect(waiting).to_have_css("background-image", re.compile("gradient"))
    await expect(running).to_have_css("background-image", "none")
    await page.get_by_role("tab", name="Log").click()
    await expect(page.get_by_role("log")).to_contain_text("Importing monday.csv")
    redis.lpush(gate, 1)
    await expect(page.get_by_role("main").get_by_text("SUCCESS", exact=True).first).to_be_visible()
    await expect(page.get_by_role("log")).to_contain_text("Imported 4 rows")
    await tab.check_accessible()


async def test_markup_is_text(site: Site, tab: Tab) -> None:
    """HTML and scripts in a name, metadata, arguments, the log, the progress and an error appear as their text."""
    task_id = site.api.create(MARKUP, args=[MARKUP], metadata={"note": MARKUP, MARKUP.replace(".", "_"): 1})
    assert site.api.finished(task_id)["status"] == "FAILURE"
    page = await _open(tab, site, task_id)
    await expect(page.get_by_role("heading", level=1)).to_have_text(MARKUP)
    for part in ("Error", "Progress", "Arguments", "Metadata"):
        await expect(page.get_by_role("region", name=part, exact=True)).to_contain_text("<script>")
    await page.get_by_role("tab", name="Log").click()
    await expect(page.get_by_role("log")).to_contain_text(MARKUP)
    assert await page.title() != "hacked"
    assert await page.locator("img[src='x']").count() == 0


async def test_large_integers_keep_their_digits(site: Site, tab: Tab) -> None:
    """Integers above 2^53 are shown exactly, and survive a change of other metadata."""
    task_id = site.api.create("task_modules.echo", args=[_LARGE], metadata={"order": _LARGE, "team": "red"})
    site.api.finished(task_id)
    page = await _open(tab, site, task_id)
    for part in ("Arguments", "Metadata", "Result"):
        await expect(page.get_by_role("region", name=part, exact=True)).to_contain_text(str(_LARGE))
    await edit_metadata(page, lambda text: text.replace("red", "blue"))
    await expect(page.get_by_role("region", name="Metadata", exact=True)).to_contain_text("blue")
    metadata = site.api.task(task_id)["metadata"]
    assert metadata == {"order": _LARGE, "team": "blue"}


async def test_deleting_asks_first(site: Site, tab: Tab) -> None:
    """The task is there until the question is answered, and Escape keeps it."""
    task_id = site.api.create("task_modules.add", args=[1])
    site.api.finished(task_id)
    page = await _open(tab, site, task_id)
    await page.get_by_role("button", name="Delete", exact=True).click()
    dialog = page.get_by_role("dialog", name="Delete this task?")
    await expect(dialog.get_by_role("button", name="Keep")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    assert site.api.task(task_id)["status"] == "SUCCESS"
    await page.get_by_role("button", name="Delete", exact=True).click()
    await dialog.get_by_role("button", name="Delete the task").click()
    await expect(page.get_by_role("alert")).to_contain_text("You have deleted it")
    assert site.api.data("query ($id: ID!) { task(id: $id) { id } }", id=task_id) == {"task": None}


async def test_the_deletion_of_another_task_changes_nothing(site: Site, tab: Tab) -> None:
    """A watch of an ended task begins with what was deleted shortly before, whatever that was."""
    deleted, kept = (site.api.create("task_modules.add", args=[number]) for number in (1, 2))
    for task_id in (deleted, kept):
        site.api.finished(task_id)
    site.api.data(_DELETE, id=deleted)
    page = await _open(tab, site, kept)
    await expect(page.get_by_role("region", name="Arguments", exact=True)).to_contain_text("2")
    site.api.data(_SET_TEAM, id=kept)
    # The changes after the deletions of the watch have come.
    await expect(page.get_by_role("region", name="Metadata", exact=True)).to_contain_text("blue")
    await expect(page.get_by_role("alert")).to_have_count(0)


async def test_a_task_is_cancelled_by_the_keyboard(site: Site, tab: Tab) -> None:
    """The key c asks, and the page shows that the task is revoked and why."""
    task_id = site.api.create("long_running_task", kwargs={"task_input": 1, "seconds": 600})
    wait_until(lambda: site.api.task(task_id)["status"] == "STARTED")
    page = await _open(tab, site, task_id)
    await expect(page.get_by_role("button", name="Cancel", exact=True)).to_be_visible()
    await page.keyboard.press("c")
    dialog = page.get_by_role("dialog", name="Cancel this task?")
    await dialog.get_by_label("Reason").fill("not needed any more")
    await dialog.get_by_role("button", name="Cancel the task").click()
    await expect(page.get_by_role("main").get_by_text("REVOKED", exact=True).first).to_be_visible()
    await expect(page.get_by_role("main")).to_contain_text("not needed any more")


async def test_an_unknown_task_says_so(site: Site, tab: Tab) -> None:
    """An id without a task is a sentence, not a crash, whatever it looks like."""
    task_id = str(uuid.uuid4())
    page = await _open(tab, site, task_id)
    await expect(page.get_by_role("heading", level=1)).to_have_text("There is no such task")
    await tab.open(site.url, "/#/tasks/%3Cscript%3E%2F..%2F%25")
    await page.reload()
    await expect(page.get_by_role("heading", level=1)).to_have_text("There is no such task")


async def test_copying_works_without_https(site: Site, tab: Tab) -> None:
    """Browsers give pages without https no clipboard; a value is copied all the same, with its digits."""
    task_id = site.api.create("task_modules.echo", args=[_LARGE])
    site.api.finished(task_id)
    tab.allow("Cross-Origin-Opener-Policy header has been ignored")
    page = await tab.open(site.server.insecure_url, f"/#/tasks/{task_id}")
    assert not await page.evaluate("window.isSecureContext")
    await page.get_by_role("region", name="Arguments", exact=True).get_by_role("button", name="Copy").click()
    await page.get_by_role("button", name="Edit metadata").click()
    text = page.get_by_label("Metadata as JSON")
    await text.fill("")
    await text.press("Control+V")
    await expect(text).to_have_value(re.compile(str(_LARGE)))
