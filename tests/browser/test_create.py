"""The form that creates tasks: from a definition to the end of the task, and on to its replay."""

from __future__ import annotations

import json
import uuid

import pytest
from playwright.async_api import expect
from redis import Redis
from site_under_test import Site
from tab import Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_task_from_the_form_to_its_replay(site: Site, tab: Tab, redis: Redis) -> None:
    """It is created, moves, ends, is found by its metadata, is replayed with other arguments, and is cancelled."""
    batch, gate = str(uuid.uuid4()), str(uuid.uuid4())
    page = await tab.open(site.url, "/#/create")
    await page.get_by_role("combobox", name="Name", exact=True).fill("orders.import")
    await page.get_by_role("textbox", name="file").fill("monday.csv")
    await page.get_by_label("rows").fill("2")
    await page.get_by_role("textbox", name="gate").fill(gate)
    await page.get_by_label("Metadata as JSON").fill(json.dumps({"batch": batch}))
    await page.get_by_role("button", name="Create the task").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("orders.import")
    redis.lpush(gate, 1)
    await expect(page.get_by_role("progressbar", name="Progress")).to_have_attribute("aria-valuenow", "50")
    redis.lpush(gate, 1)
    await expect(page.get_by_role("main").get_by_text("SUCCESS", exact=True).first).to_be_visible()
    await page.get_by_role("link", name="Tasks", exact=True).click()
    await page.get_by_label("Search tasks").fill(f"metadata.batch:{batch}")
    await page.keyboard.press("Enter")
    await page.get_by_role("table", name="Tasks").get_by_text("orders.import").first.click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("orders.import")
    await page.get_by_role("button", name="Replay", exact=True).click()
    await page.get_by_role("menuitem", name="With other arguments").click()
    await page.get_by_role("textbox", name="file").fill("tuesday.csv")
    await page.get_by_role("button", name="Replay", exact=True).click()
    await expect(page.get_by_role("region", name="Arguments", exact=True)).to_contain_text("tuesday.csv")
    await page.get_by_role("button", name="Cancel", exact=True).click()
    dialog = page.get_by_role("dialog", name="Cancel this task?")
    await dialog.get_by_label("End its process by force").check()
    await dialog.get_by_role("button", name="Cancel by force").click()
    await expect(page.get_by_role("main").get_by_text("REVOKED", exact=True).first).to_be_visible()


async def test_a_wrong_argument_is_marked_and_nothing_is_created(site: Site, tab: Tab) -> None:
    """The message of the API stands in the form, which keeps what was entered."""
    page = await tab.open(site.url, "/#/create?name=orders.import")
    await page.get_by_label("Metadata as JSON").fill('{"a": ')
    await expect(page.get_by_role("button", name="Create the task")).to_be_disabled()
    await page.get_by_label("Metadata as JSON").fill("{}")
    await page.get_by_label("Queue").fill("no-such-queue")
    await page.get_by_role("textbox", name="file").fill("monday.csv")
    await page.get_by_role("button", name="Create the task").click()
    await expect(page.get_by_role("main")).to_contain_text("no-such-queue")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Create a task")
    await expect(page.get_by_role("textbox", name="file")).to_have_value("monday.csv")
    await tab.check_accessible()


async def test_a_key_creates_one_task_only(site: Site, tab: Tab) -> None:
    """The same input with the same key leads to the task that exists; another input with it is refused."""
    key = str(uuid.uuid4())
    page = await tab.open(site.url, "/#/create?name=orders.import")
    create = page.get_by_role("button", name="Create the task")
    existing = page.get_by_role("status").filter(has_text="This task exists already")
    await page.get_by_role("textbox", name="file").fill("monday.csv")
    await page.get_by_label("Idempotency key").fill(key)
    await create.click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("orders.import")
    address = page.url
    await page.go_back()
    await page.get_by_role("textbox", name="file").fill("monday.csv")
    await page.get_by_label("Idempotency key").fill(key)
    await create.click()
    await expect(existing).to_be_visible()
    await page.get_by_role("textbox", name="file").fill("tuesday.csv")
    await expect(existing).to_be_hidden()
    await create.click()
    await expect(page.get_by_label("Idempotency key")).to_have_attribute("aria-invalid", "true")
    await page.get_by_role("textbox", name="file").fill("monday.csv")
    await create.click()
    await existing.get_by_role("link", name="Open the task").click()
    await expect(page).to_have_url(address)
