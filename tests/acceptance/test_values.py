from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import value_tasks
from celery import Celery
from databases import Databases
from support import Api

from gql_api.settings import Settings
from gql_api.worker.backend.backend import Backend

# The defaults of ERROR_MAX_BYTES and PROGRESS_MAX_BYTES.
_ERROR, _PROGRESS = 32 * 1024, 64 * 1024


@pytest.fixture
def celery(databases: Databases, environment: dict[str, str]) -> Iterator[Celery]:
    """An application that reads the results of the worker, as a program beside it does."""
    app = Celery("reader", set_as_current=False, broker=databases.redis.url)
    app.conf.update(accept_content=["json"], result_backend_thread_safe=True)
    settings = Settings(mongodb_url=databases.mongodb.url, mongodb_database=environment["MONGODB_DATABASE"])
    app._backend_cache = Backend(app, settings)  # noqa: SLF001 - the backend would read the environment
    yield app
    app.backend.connections.close()
    app.close()


@pytest.mark.parametrize("kind", ["text", "pair", "caused", "retry"])
def test_a_large_error_keeps_its_type_and_is_cut(api: Api, kind: str) -> None:
    """Message and traceback are cut to a size, each with a note of it, and the history has a hint of the message."""
    task = api.finished(api.create("value_tasks.raises", args=[kind, 4_000_000]))
    error = task["error"]
    assert (task["status"], error["type"]) == (
        "FAILURE",
        {"pair": "PairError", "caused": "RuntimeError"}.get(kind, "ValueError"),
    )
    assert len(error["traceback"].encode()) <= _ERROR
    assert "[cut: " in error["traceback"]
    if kind == "caused":
        assert error["message"] == "outer"
        assert error["traceback"].rstrip().endswith("RuntimeError: outer")
    else:
        assert error["traceback"].startswith("Traceback")
        assert _ERROR - 100 < len(error["message"].encode()) <= _ERROR
        assert error["message"].endswith(f"bytes, at most {_ERROR} kept]")
        assert task["history"][-1]["message"].endswith("…")


@pytest.mark.parametrize(("kind", "exception"), [("mute", "MuteError"), ("many", "ValueError")])
def test_an_error_without_a_readable_text_keeps_its_type(api: Api, kind: str, exception: str) -> None:
    """An exception whose text cannot be read, or that has very many arguments, ends its task like any other."""
    task = api.finished(api.create("value_tasks.raises", args=[kind, 100_000]))
    assert (task["status"], task["error"]["type"]) == ("FAILURE", exception)
    assert len(task["error"]["message"].encode()) <= _ERROR


def test_a_large_error_is_raised_with_its_type(api: Api, celery: Celery) -> None:
    """AsyncResult.get raises the class of the exception, with as many arguments as it had."""
    task_id = api.create("value_tasks.raises", args=["pair", 4_000_000])
    api.finished(task_id)
    with pytest.raises(value_tasks.PairError) as raised:
        celery.AsyncResult(task_id).get()
    small, large = raised.value.args
    assert small == 7
    assert large["rows"][0].startswith("ééé")
    assert large["rows"][0].endswith("kept]")


@pytest.mark.parametrize("state", ["method", "PROGRESS"])
def test_a_large_report_is_cut(api: Api, state: str) -> None:
    """The message of a report is cut, and so are the texts of its other values, which keep their shape."""
    task = api.finished(api.create("value_tasks.reports", args=[4_000_000, state]))
    assert (task["status"], task["result"]) == ("SUCCESS", "reported")
    progress: dict[str, Any] = task["progress"]
    assert (progress["current"], progress["total"]) == (1, 2)
    assert _PROGRESS - 100 < len(progress["message"].encode()) <= _PROGRESS
    assert progress["message"].endswith(f"bytes, at most {_PROGRESS} kept]")
    if state == "PROGRESS":
        cut, one = progress["data"]["rows"]
        assert one == 1
        assert cut.startswith("xxx")
        assert cut.endswith("kept]")
        assert len(cut) <= _PROGRESS


def test_a_large_custom_state_does_not_fail_its_task(api: Api) -> None:
    """The meta of a custom state is cut too, which 16 MiB would have failed."""
    task = api.finished(api.create("value_tasks.reports", args=[9_000_000, "UPLOADING"]))
    assert (task["status"], task["result"]) == ("SUCCESS", "reported")
