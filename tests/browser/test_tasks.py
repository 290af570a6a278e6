"""The list of tasks: found by metadata, live, paused, and all of it in the address."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from markup_tasks import MARKUP
from playwright.async_api import Locator, Page, expect
from site_under_test import Server, Site
from tab import Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")


def _lines(page: Page) -> Locator:
    return page.get_by_role("checkbox", name="Select task_modules.add")


async def _search(page: Page, text: str) -> None:
    bar = page.get_by_label("Search tasks")
    await bar.fill(text)
    await bar.press("Escape")
    await bar.focus()
    await bar.press("Enter")


async def test_tasks_are_found_by_metadata_and_stay_live(site: Site, tab: Tab) -> None:
    """A search becomes the address; new tasks that it finds appear, others do not, and a reload shows the same."""
    customer = str(uuid.uuid4())
    found = site.api.create("task_modules.add", args=[1], metadata={"customer": customer})
    site.api.create("task_modules.add", args=[1], metadata={"customer": "another"})
    page = await tab.open(site.url, "/#/tasks")
    await _search(page, f'metadata.customer:"{customer}"')
    await expect(_lines(page)).to_have_count(1)
    await expect(page.get_by_role("checkbox", name=f"Select task_modules.add {found}")).to_be_visible()
    assert customer in page.url
    site.api.create("task_modules.add", args=[2], metadata={"customer": customer})
    await expect(_lines(page)).to_have_count(2)
    await tab.check_accessible()
    await page.reload()
    await expect(_lines(page)).to_have_count(2)
    await expect(page.get_by_label("Search tasks")).to_have_value(f'metadata.customer:"{customer}"')


async def test_a_row_opens_its_task(site: Site, tab: Tab) -> None:
    """The link of a row has the task's address, a click anywhere in the row opens it, and the list is found again."""
    run = str(uuid.uuid4())
    task = site.api.create("task_modules.add", args=[1], metadata={"run": run})
    page = await tab.open(site.url, f'/#/tasks?q=metadata.run:"{run}"')
    link = page.get_by_role("row").get_by_role("link", name="task_modules.add")
    assert await link.evaluate("(link) => link.href") == f"{site.url}/#/tasks/{task}"
    for target in (link, page.get_by_role("row").get_by_role("time")):
        await target.click()
        await expect(page).to_have_url(f"{site.url}/#/tasks/{task}")
        await page.go_back()
        await expect(_lines(page)).to_have_count(1)


async def test_new_rows_take_no_focus_over(site: Site, tab: Tab) -> None:
    """A row that the keyboard has reached stays the one that Enter opens while new tasks arrive above it."""
    run = str(uuid.uuid4())
    task = site.api.create("task_modules.add", args=[1], metadata={"run": run})
    page = await tab.open(site.url, f'/#/tasks?q=metadata.run:"{run}"')
    await page.get_by_role("row").get_by_role("link", name="task_modules.add").focus()
    for number in range(3):
        site.api.create("task_modules.add", args=[number], metadata={"run": run})
    await expect(_lines(page)).to_have_count(4)
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(f"{site.url}/#/tasks/{task}")


async def test_a_paused_list_stays_as_it_is(site: Site, tab: Tab) -> None:
    """After p nothing moves until p is pressed again; then the list shows what has happened meanwhile."""
    run = str(uuid.uuid4())
    site.api.create("task_modules.add", args=[1], metadata={"run": run})
    page = await tab.open(site.url, f'/#/tasks?q=metadata.run:"{run}"')
    live = await tab.context.new_page()
    await live.goto(page.url)
    for each in (page, live):
        await expect(_lines(each)).to_have_count(1)
    await page.bring_to_front()
    await page.get_by_role("heading", level=1).click()
    await page.keyboard.press("p")
    await expect(page.get_by_text("Paused").first).to_be_visible()
    site.api.finished(site.api.create("task_modules.add", args=[2], metadata={"run": run}))
    await expect(_lines(live)).to_have_count(2)
    await expect(_lines(page)).to_have_count(1)
    await page.keyboard.press("p")
    await expect(_lines(page)).to_have_count(2)


async def test_bulk_actions_count_and_ask(site: Site, tab: Tab) -> None:
    """Deleting what a search finds says how many tasks those are, and does nothing before the answer."""
    run = str(uuid.uuid4())
    tasks = [site.api.create("task_modules.add", args=[number], metadata={"run": run}) for number in range(3)]
    for task in tasks:
        site.api.finished(task)
    page = await tab.open(site.url, f'/#/tasks?q=metadata.run:"{run}"')
    await expect(_lines(page)).to_have_count(3)
    await page.get_by_role("button", name="Actions").click()
    await page.get_by_role("menuitem", name="Delete").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("Delete 3 tasks?")
    assert site.api.task(tasks[0])["status"] == "SUCCESS"
    await dialog.get_by_role("button", name="Delete 3 tasks").click()
    await expect(dialog.get_by_role("status")).to_contain_text("3 tasks of 3 deleted")
    await dialog.get_by_role("button", name="Close").last.click()
    await expect(_lines(page)).to_have_count(0)


async def test_markup_in_the_list_is_text(site: Site, tab: Tab) -> None:
    """A name and metadata that look like HTML are shown as they are."""
    site.api.finished(site.api.create(MARKUP, args=["x"], metadata={"note": MARKUP}))
    page = await tab.open(site.url, "/#/tasks?cols=name,status,metadata.note")
    await expect(page.get_by_text("<script>").first).to_be_visible()
    assert await page.title() != "hacked"
    assert await page.locator("img[src='x']").count() == 0


@pytest.fixture
def without_board(site: Site) -> Iterator[Server]:
    """A server without the board."""
    with site.another("without-board", DASHBOARD="off") as server:
        yield server


async def test_the_board_can_be_left_out(without_board: Server, tab: Tab) -> None:
    """With DASHBOARD=off the root leads to the playground, which offers no way to the board."""
    page = await tab.open(without_board.url)
    await expect(page).to_have_url(f"{without_board.url}/graphql")
    await expect(page.get_by_role("button", name="Execute query")).to_be_visible()
    await expect(page.get_by_role("link", name="gql-api")).to_have_count(0)
