from __future__ import annotations

import json
import uuid
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any

import pytest
from gql import Client, gql
from gql.transport.exceptions import TransportQueryError
from gql.transport.websockets import WebsocketsTransport
from redis import Redis
from support import Api, wait_until

LOGS = """
query ($id: ID!, $first: Int, $after: String, $minLevel: LogLevel) {
  task(id: $id) {
    logs(first: $first, after: $after, minLevel: $minLevel) {
      edges { cursor node { cursor message } } nodes { cursor at level message }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
  }
}
"""
WATCH = gql("""
subscription ($id: ID!, $minLevel: LogLevel, $after: String) {
  taskLogged(id: $id, minLevel: $minLevel, after: $after) { cursor at level message }
}
""")


def _page(api: Api, id_: str, **variables: Any) -> dict[str, Any]:
    page: dict[str, Any] = api.data(LOGS, id=id_, **variables)["task"]["logs"]
    return page


def _lines(api: Api, id_: str, **variables: Any) -> list[tuple[str, str]]:
    return [(line["level"], line["message"]) for line in _page(api, id_, **variables)["nodes"]]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def _watch(api: Api, **variables: Any) -> AsyncGenerator[dict[str, Any], None]:
    """Watch a log as an ordinary client does."""
    transport = WebsocketsTransport(url=api.websocket, subprotocols=["graphql-transport-ws"])
    async with Client(transport=transport) as session:
        WATCH.variable_values = variables
        async for data in session.subscribe(WATCH):
            yield data["taskLogged"]


def test_what_a_task_says_is_kept_in_order(api: Api) -> None:
    """`self.log` and Celery's task logger, called functions included, in one log; eager tasks are no part of it."""
    id_ = api.create("task_modules.says_much")
    task = api.finished(id_)
    lines = _lines(api, id_, minLevel="DEBUG")
    failed = lines.pop(5)
    assert lines == [
        ("INFO", "1 of two"),
        ("DEBUG", "named 3"),
        ("WARNING", "careful: hot"),
        ("INFO", "lone \\ud800, \0, 100%"),
        ("INFO", "('does not fit %d %d', 'it')"),
        ("INFO", "called"),
        ("ERROR", "critical"),
    ]
    assert failed[0] == "ERROR"
    assert failed[1].startswith("failed\nTraceback")
    assert failed[1].endswith("ValueError: no")
    times = [_time(node["at"]) for node in _page(api, id_)["nodes"]]
    assert all(_time(task["startedAt"]) <= time <= _time(task["finishedAt"]) for time in times)


def test_self_log_is_not_in_the_workers_log(api: Api) -> None:
    """What is for who watches the task stands in one place; the task logger's records stand in both."""
    api.finished(api.create("task_modules.says_much"))
    text = api.worker_log.read_text()
    assert "careful: hot" in text
    assert "1 of two" not in text


def test_levels_are_chosen(api: Api) -> None:
    """INFO and above unless told otherwise, with null too."""
    id_ = api.create("task_modules.says_much")
    api.finished(id_)
    assert {level for level, _ in _lines(api, id_)} == {"INFO", "WARNING", "ERROR"}
    assert _lines(api, id_, minLevel=None, first=None) == _lines(api, id_)
    assert {level for level, _ in _lines(api, id_, minLevel="ERROR")} == {"ERROR"}


def test_a_log_is_read_in_pages(api: Api) -> None:
    """Following the cursors reads each line once, in order."""
    id_ = api.create("task_modules.floods", args=[25])
    api.finished(id_)
    seen: list[str] = []
    after = None
    while True:
        page = _page(api, id_, first=10, after=after)
        assert [edge["cursor"] for edge in page["edges"]] == [node["cursor"] for node in page["nodes"]]
        assert [edge["node"]["message"] for edge in page["edges"]] == [node["message"] for node in page["nodes"]]
        assert page["pageInfo"]["hasPreviousPage"] is (after is not None)
        assert page["pageInfo"]["startCursor"] == page["nodes"][0]["cursor"]
        seen += [node["message"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert seen == [str(n) for n in range(25)]
    empty = _page(api, id_, after=after)
    assert (empty["nodes"], empty["pageInfo"]["endCursor"]) == ([], None)


@pytest.mark.parametrize("variables", [{"first": 0}, {"first": 501}, {"after": "x"}])
def test_a_page_that_cannot_be_is_refused(api: Api, variables: dict[str, Any]) -> None:
    """The size has bounds, and a cursor has to be of this log."""
    id_ = api.create("task_modules.add", args=[1])
    (error,) = api.post(LOGS, id=id_, **variables)["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


def test_a_task_that_says_nothing_has_an_empty_log(api: Api) -> None:
    """A page of nothing is a page."""
    id_ = api.create("task_modules.add", args=[1])
    api.finished(id_)
    assert _page(api, id_)["nodes"] == []


def test_a_flood_of_lines_ends_in_a_note(api: Api) -> None:
    """A task that logs far too much ends as ever, and its log says that the rest was left out."""
    id_ = api.create("task_modules.floods", args=[5000])
    assert api.finished(id_)["result"] == "done"
    lines = _lines(api, id_, first=500)
    after = _page(api, id_, first=500)["pageInfo"]["endCursor"]
    rest = _page(api, id_, first=500, after=after)
    lines += [(node["level"], node["message"]) for node in rest["nodes"]]
    assert lines == [("INFO", str(n)) for n in range(1000)]
    (note,) = _lines(api, id_, after=rest["pageInfo"]["endCursor"])
    assert note[0] == "WARNING"
    assert note[1].startswith("The rest was left out: a task keeps at most 1000 lines")


def test_long_lines_are_cut_and_counted(api: Api) -> None:
    """A mebibyte of text is kept, 8 KiB of each line."""
    id_ = api.create("task_modules.floods", args=[200, 100_000])
    api.finished(id_)
    *lines, (_, note) = _lines(api, id_, first=500)
    assert len(lines) == 128
    assert all(len(message.encode()) == 8192 and message.endswith("…") for _, message in lines)
    assert note.startswith("The rest was left out")


def test_all_attempts_are_one_log(api: Api) -> None:
    """Retries go on in the same log, wherever they run."""
    id_ = api.create("task_modules.logs_and_retries", args=[3])
    assert api.finished(id_)["attempts"] == 3
    assert [message for _, message in _lines(api, id_)] == [f"attempt {a} line {n}" for a in range(3) for n in range(3)]


def test_what_replaces_a_task_goes_on_in_its_log(api: Api) -> None:
    """What was said before the task handed itself over is kept, and so is what the other says under the same id."""
    id_ = api.create("task_modules.logs_and_is_replaced")
    api.finished(id_)
    assert [message for _, message in _lines(api, id_)] == ["before", "after"]


async def test_a_log_is_watched_to_its_end(api: Api, redis: Redis) -> None:
    """What there is comes at once, then each line while the task runs, and the end when the task ends."""
    key = uuid.uuid4().hex
    id_ = api.create("task_modules.repeats", args=[key])
    redis.lpush(key, "0")
    wait_until(lambda: _lines(api, id_))
    seen = []
    async for line in _watch(api, id=id_):
        assert not api.task(id_)["isFinal"]
        seen.append(line["message"])
        redis.lpush(key, "" if len(seen) == 5 else str(len(seen)))
    assert seen == ["0", "1", "2", "3", "4"]
    assert api.task(id_)["status"] == "SUCCESS"
    assert [line["message"] async for line in _watch(api, id=id_)] == seen


async def test_a_dropped_socket_misses_and_repeats_nothing(api: Api, redis: Redis) -> None:
    """Again and again the connection goes, lines come meanwhile, and the client goes on after its last cursor."""
    key = uuid.uuid4().hex
    id_ = api.create("task_modules.repeats", args=[key])
    seen: list[str] = []
    after = None
    for round_ in range(5):
        for number in range(3):
            redis.lpush(key, f"{round_}.{number}")
        watch = _watch(api, id=id_, after=after)
        for _ in range(2):
            line = await anext(watch)
            seen.append(line["message"])
            after = line["cursor"]
        await watch.aclose()
    redis.lpush(key, "")
    seen += [line["message"] async for line in _watch(api, id=id_, after=after)]
    assert seen == [f"{round_}.{number}" for round_ in range(5) for number in range(3)]


async def test_only_grave_lines_are_watched(api: Api) -> None:
    """The level that is asked for filters the live log too."""
    id_ = api.create("task_modules.says_much")
    seen = [(line["level"], line["message"]) async for line in _watch(api, id=id_, minLevel="WARNING")]
    assert [level for level, _ in seen] == ["WARNING", "ERROR", "ERROR"]
    api.finished(id_)
    assert seen == _lines(api, id_, minLevel="WARNING")


async def test_a_task_without_lines_completes(api: Api) -> None:
    """There is nothing to tell, and the stream ends with the task, or at once after it."""
    id_ = api.create("task_modules.add", args=[1])
    assert [line async for line in _watch(api, id=id_)] == []
    assert [line async for line in _watch(api, id=id_)] == []


async def test_a_flood_is_watched_in_order(api: Api) -> None:
    """Who watches a task that logs far more than a screen can use still gets what is kept, once and in order."""
    id_ = api.create("task_modules.floods", args=[5000, 50])
    *seen, note = [line["message"] async for line in _watch(api, id=id_)]
    assert seen == [str(n).ljust(50, ".") for n in range(1000)]
    assert note.startswith("The rest was left out")


@pytest.mark.parametrize(("variables", "code"), [({"id": "nope"}, "NOT_FOUND"), ({"after": "x"}, "BAD_USER_INPUT")])
async def test_a_watch_that_cannot_be_is_refused(api: Api, variables: dict[str, str], code: str) -> None:
    """There is no log of an unknown task, and no place in a log that is no cursor of it."""
    known = api.create("task_modules.add", args=[1])
    with pytest.raises(TransportQueryError) as refused:
        await anext(_watch(api, **{"id": known, **variables}))
    (error,) = refused.value.errors or []
    assert error["extensions"]["code"] == code


def test_a_log_is_read_within_a_subscription_of_the_task(api: Api) -> None:
    """`taskUpdated` can select the log: at the last update it is whole."""
    id_ = api.create("task_modules.floods", args=[3])
    query = f'subscription {{ taskUpdated(id: "{id_}") {{ status logs {{ nodes {{ message }} }} }} }}'
    *_, last = [update["taskUpdated"] for update in api.watch(query)]
    assert json.dumps(last) == json.dumps(
        {"status": "SUCCESS", "logs": {"nodes": [{"message": str(n)} for n in range(3)]}}
    )
