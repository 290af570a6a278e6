"""Programs that use an adopted application as its users would: by its own broker, and from several threads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis
from support import ROOT, Api

from gql_api.events import Channels

Run = Callable[..., str]

_CANCEL = "mutation ($id: ID!) { cancelTask(id: $id) { userErrors { message } } }"

_APP = """
from celery import Celery, shared_task
from gql_api.adopt import adopt
app = adopt(Celery("shop", broker={broker!r}, backend={backend!r}))
app.conf.task_default_queue = "shared"

@shared_task(name="shop.price")
def price(article): return 9.5
"""


@pytest.fixture(scope="module")
def run(api: Api, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run a program beside an application whose broker is an argument, with no variable that names it."""
    assert api.is_ready()
    folder: Path = tmp_path_factory.mktemp("sender")
    (folder / "shop.py").write_text(_APP.format(broker=environment["CELERY_BROKER_URL"], backend="redis://127.0.0.1:1"))
    env = {name: environment[name] for name in ("MONGODB_URL", "MONGODB_DATABASE", "CELERY_RESULT_BACKEND")}

    def run(program: str, **more: str) -> str:
        command = [sys.executable, "-W", "error", "-c", program]
        done = subprocess.run(
            command,
            cwd=folder,
            env={**env, **more, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_events_go_to_the_broker_of_the_application(environment: dict[str, str], run: Run) -> None:
    """Without REDIS_URL and CELERY_BROKER_URL, the API receives them from the Redis that the application uses."""
    with Redis.from_url(environment["CELERY_BROKER_URL"]) as client, client.pubsub() as pubsub:
        channels = Channels(environment["MONGODB_DATABASE"])
        pubsub.psubscribe(channels.all_tasks)
        task_id = run("from shop import price; print(price.delay('tea').id)").strip()
        received = (pubsub.get_message(timeout=10) or {} for _ in range(1000))
        assert any(message.get("channel") == channels.task(task_id).encode() for message in received)


def test_redis_url_takes_precedence(run: Run) -> None:
    """Events may have a Redis of their own."""
    url = "redis://127.0.0.1:1/5"
    program = "from shop import app; print(app.backend.settings.redis_url)"
    assert run(program, REDIS_URL=url).strip() == url


_SEND = """
from concurrent.futures import ThreadPoolExecutor
from shop import price
with ThreadPoolExecutor(1) as pool:
    print(pool.submit(price.delay, "tea").result().id)
"""
_READ = """
import sys
from concurrent.futures import ThreadPoolExecutor
import shop
from celery.result import AsyncResult
with ThreadPoolExecutor(1) as pool:
    print(pool.submit(lambda: AsyncResult({task_id!r}).state).result())
"""


def test_other_threads_use_the_application_too(api: Api, run: Run) -> None:
    """A web framework calls shared tasks and AsyncResult in its threads, where Celery has no current application."""
    task_id = run(_SEND).strip()
    assert api.data(_CANCEL, id=task_id)["cancelTask"]["userErrors"] == []
    assert run(_READ.format(task_id=task_id)).strip() == "REVOKED"


def test_a_message_can_be_compressed(api: Api, run: Run) -> None:
    """A worker reads it, and its record is as any other."""
    program = (
        "from shop import app; print(app.send_task('task_modules.add', (1, 2), queue='celery', compression='bzip2').id)"
    )
    task = api.finished(run(program).strip())
    assert (task["status"], task["result"], task["args"], task["attempts"]) == ("SUCCESS", 3, [1, 2], 1)
