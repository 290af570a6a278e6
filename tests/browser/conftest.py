"""A real browser before a real server with a real worker: one of each a test process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from databases import Databases
from front_end import build_front_end, find_chromium
from playwright.async_api import Browser, async_playwright, expect
from ports import free_port
from redis import Redis
from site_under_test import Site, running_site
from support import HELPERS, process, wait_until
from tab import Tab

from gql_api.cli.embedded_servers import RedisServer, is_listening

# The servers share two cores with other tests.
expect.set_options(timeout=30_000)
_BUILD_SECONDS = 600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the first of these tests the time to build the pages, if `make web` has not done so; all are slow."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(_BUILD_SECONDS))
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Redis of its own: the workers of other tests would take these tasks."""
    folder = tmp_path_factory.mktemp("broker")
    redis = RedisServer(folder / "redis", free_port())
    with process(redis.command(), folder / "redis.log"):
        wait_until(lambda: is_listening(redis.port))
        yield redis.url


@pytest.fixture
def redis(broker: str) -> Iterator[Redis]:
    """The broker, to hold and release tasks by."""
    with Redis.from_url(broker, decode_responses=True) as client:
        yield client


@pytest.fixture(scope="session")
def environment(databases: Databases, broker: str) -> dict[str, str]:
    """What a deployment would set."""
    return {
        "MONGODB_URL": databases.mongodb.url,
        "MONGODB_DATABASE": "browser",
        "CELERY_BROKER_URL": broker,
        "TASK_MODULES": "jobs.tasks,task_modules,board_tasks,markup_tasks",
        "WORKER_HEARTBEAT_SECONDS": "1",
        "RECOVERY_INTERVAL_SECONDS": "0.5",
        "ALLOWED_HOSTS": "localhost,127.0.0.1,board.test",
        "PYTHONPATH": f"{HELPERS}:{Path(__file__).parent / 'support'}",
    }


@pytest.fixture(scope="session")
def site(
    front_end: None,  # noqa: ARG001 - the server finds the files
    environment: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """The board with its worker."""
    with running_site(environment, tmp_path_factory.mktemp("browser")) as site:
        yield site


@pytest.fixture(scope="session")
def front_end(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The built pages."""
    # The parent is the folder of all test processes.
    build_front_end(tmp_path_factory.getbasetemp().parent / "front-end.lock")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """A headless Chromium."""
    path = find_chromium()
    async with async_playwright() as playwright:
        arguments = ["--host-resolver-rules=MAP board.test 127.0.0.1", "--disable-gpu"]
        browser = await playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def tab(browser: Browser) -> AsyncIterator[Tab]:
    """A tab; a page that logs an error, violates its policy or leaves its origin fails the test."""
    options: Any = {"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", "reduced_motion": "reduce"}
    context = await browser.new_context(**options)
    tab = await Tab.of(context)
    yield tab
    await context.close()
    tab.check()
