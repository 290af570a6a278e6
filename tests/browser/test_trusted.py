"""The board of a server that runs trusted documents only."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, Response, WebSocket, expect
from site_under_test import Server, Site
from tab import Tab
from task_page import edit_metadata

pytestmark = pytest.mark.asyncio(loop_scope="session")

_REFUSAL = "DOCUMENT_NOT_TRUSTED"


@pytest.fixture
def trusting(site: Site, tmp_path: Path) -> Iterator[Server]:
    """A server whose clients may run one document, and the board its own."""
    path = tmp_path / "documents.json"
    path.write_text(json.dumps({"list": "query List { tasks(first: 1) { nodes { id } } }"}))
    with site.another("trusting", TRUSTED_DOCUMENTS=str(path)) as server:
        yield server


class _Refusals:
    """Notes which answers refuse a document, over HTTP and over WebSockets."""

    def __init__(self, page: Page) -> None:
        self._answers: list[Response] = []
        self._frames: list[str] = []
        page.on("response", self._answered)
        page.on("websocket", self._opened)

    def _answered(self, response: Response) -> None:
        if response.url.endswith("/graphql"):
            self._answers.append(response)

    def _opened(self, socket: WebSocket) -> None:
        socket.on("framereceived", lambda frame: self._frames.append(str(frame)))

    async def found(self) -> list[str]:
        """Return the refusals."""
        texts = [await response.text() for response in self._answers]
        assert texts
        assert self._frames
        return [text for text in [*texts, *self._frames] if _REFUSAL in text]


async def test_the_board_runs_its_own_documents(site: Site, trusting: Server, tab: Tab) -> None:
    """Lists, details, changes, bulk actions and live updates work; the document of anybody else is refused."""
    run = str(uuid.uuid4())
    task_id = site.api.create("task_modules.add", args=[1], metadata={"run": run})
    site.api.finished(task_id)
    assert trusting.api.refusal("{ tasks { nodes { name } } }")["extensions"]["code"] == _REFUSAL
    refusals = _Refusals(tab.page)
    page = await tab.open(trusting.url)
    await expect(page.get_by_role("banner").get_by_role("status")).to_have_text("Live")
    for path, text in (
        ("/queues", "celery"),
        ("/queues?name=celery", "task_modules.add"),
        ("/workers", "celery@"),
        ("/definitions", "task_modules.add"),
        (f"/tasks/{task_id}?tab=family", "It has no children."),
        (f"/tasks/{task_id}?tab=log", "It logged nothing at this level."),
        (f"/tasks/{task_id}", run),
    ):
        await page.goto(f"{trusting.url}/#{path}")
        await expect(page.get_by_role("main")).to_contain_text(text)
    await edit_metadata(page, lambda _text: json.dumps({"run": run, "by": "the board"}))
    await expect(page.get_by_role("region", name="Metadata", exact=True)).to_contain_text("the board")
    await page.goto(f'{trusting.url}/#/tasks?q=metadata.run:"{run}"&cols=name,metadata.by')
    await expect(page.get_by_role("table", name="Tasks")).to_contain_text("the board")
    await expect(page.get_by_role("button", name="1 task", exact=True)).to_be_visible()
    await page.get_by_role("button", name="Actions").click()
    await page.get_by_role("menuitem", name="Replay").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Replay 1 task").click()
    await expect(dialog.get_by_role("status")).to_contain_text("1 task of 1 replayed")
    await dialog.get_by_role("button", name="Close").last.click()
    await expect(page.get_by_role("checkbox", name="Select task_modules.add")).to_have_count(2)
    await page.goto(f"{trusting.url}/#/create?name=task_modules.add")
    await page.get_by_role("textbox", name="x", exact=True).fill("1")
    await page.get_by_role("button", name="Create the task").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("task_modules.add")
    await expect(page.get_by_role("main").get_by_text("SUCCESS", exact=True).first).to_be_visible()
    assert await refusals.found() == []
