"""Who signs in, what a token is shown, and where the token is kept."""

from __future__ import annotations

import time
from collections.abc import Iterator

import jwt
import pytest
from playground_page import run_examples
from playwright.async_api import Page, expect
from site_under_test import Server, Site
from tab import Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")

_SECRET = "a secret of the browser tests, of enough bytes"  # noqa: S105 - of a test server
_ALL = "tasks:read tasks:create tasks:control operate admin"


@pytest.fixture(scope="module")
def guarded(site: Site) -> Iterator[Server]:
    """A server on the same data that needs a token."""
    with site.another("guarded", JWT_SECRET=_SECRET) as server:
        yield server


def _token(scope: str, seconds: float = 600) -> str:
    now = int(time.time())
    return jwt.encode({"sub": "ann", "scope": scope, "iat": now, "exp": now + seconds}, _SECRET, "HS256")


async def _sign_in(page: Page, token: str) -> None:
    await page.get_by_label("Token", exact=True).fill(token)
    await page.get_by_role("button", name="Continue").click()


async def test_a_token_opens_the_board_and_stays_in_the_tab(guarded: Server, tab: Tab) -> None:
    """The token is in no address, survives a reload, is unknown to another tab, and is forgotten on demand."""
    token = _token(_ALL)
    page = await tab.open(guarded.url)
    await _sign_in(page, token)
    await expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    await page.reload()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    other = await tab.context.new_page()
    await other.goto(guarded.url)
    await expect(other.get_by_label("Token", exact=True)).to_be_visible()
    await page.get_by_role("button", name="Your access").click()
    await page.get_by_role("menuitem", name="Forget the token").click()
    await expect(page.get_by_label("Token", exact=True)).to_be_visible()
    assert not [url for url in [*tab.requests, page.url] if token in url]
    assert await page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])") == '[{},{},""]'


async def test_a_refused_token_says_so(guarded: Server, tab: Tab) -> None:
    """After a token that the server does not accept, the form is back with the reason."""
    tab.allow("status of 401")
    page = await tab.open(guarded.url)
    await _sign_in(page, _token(_ALL, seconds=-600))
    await expect(page.get_by_role("alert")).to_contain_text("The server does not accept this token")
    await _sign_in(page, _token(_ALL))
    await expect(page.get_by_role("heading", level=1)).to_have_text("Overview")


async def test_a_viewer_is_offered_no_actions(guarded: Server, tab: Tab) -> None:
    """A token that may only read sees no page and no button that would be refused."""
    page = await tab.open(guarded.url)
    await _sign_in(page, _token("tasks:read"))
    await expect(page.get_by_role("link", name="Tasks", exact=True)).to_be_visible()
    for name in ("Create", "Queues", "Workers"):
        await expect(page.get_by_role("link", name=name, exact=True)).to_have_count(0)


async def test_a_reader_of_all_tasks_has_no_buttons_that_change_them(guarded: Server, site: Site, tab: Tab) -> None:
    """On the page of a task and in the overview nothing is offered that the API would refuse."""
    task_id = site.api.create("task_modules.fail", args=["seen by a reader"])
    site.api.finished(task_id)
    page = await tab.open(guarded.url, f"/#/tasks/{task_id}")
    await _sign_in(page, _token("tasks:read admin"))
    await expect(page.get_by_role("heading", level=1)).to_have_text("task_modules.fail")
    await expect(page.get_by_role("region", name="Metadata", exact=True)).to_be_visible()
    for name in ("Cancel", "Replay", "Delete", "Edit metadata"):
        await expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)
    await page.get_by_role("link", name="Overview", exact=True).click()
    await expect(page.get_by_role("listitem").filter(has_text="task_modules.fail")).to_be_visible()
    for action in ("Replay all", "Delete all"):
        await expect(page.get_by_role("button", name=action)).to_have_count(0)
    site.api.data("mutation ($id: ID!) { deleteTask(id: $id) { userErrors { code } } }", id=task_id)


async def test_the_playground_sends_the_token_everywhere(guarded: Server, tab: Tab) -> None:
    """The token that was entered once is a header of the mutation, and part of the subscription's connection_init."""
    page = await tab.open(guarded.url, "/graphql")
    await _sign_in(page, _token(_ALL))
    await run_examples(page)
