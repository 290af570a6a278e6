"""Task functions with ``record=False``: they run as in stock Celery, and the API shows nothing of them."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator

import pytest
from programs import Run
from pymongo import MongoClient
from pymongo.database import Database
from redis import Redis
from support import CREATE, ROOT, Api, wait_until

from gql_api.record import fields
from gql_api.record.reads import Document

# A program that knows none of the functions.
_STRANGER = """
import os
from celery import Celery
from gql_api.adopt import adopt
app = adopt(Celery("stranger", broker=os.environ["CELERY_BROKER_URL"]))
"""


@pytest.fixture
def database(environment: dict[str, str]) -> Iterator[Database[Document]]:
    """The database of the API."""
    with MongoClient[Document](environment["MONGODB_URL"]) as client:
        yield client[environment["MONGODB_DATABASE"]]


@pytest.fixture
def unseen(database: Database[Document]) -> Callable[[], int]:
    """Return a function that counts the function's new records, among Celery's internal ones too."""

    def count() -> int:
        query = {"name": "task_modules.unseen"}
        return sum(database[name].count_documents(query) for name in (fields.TASKS, fields.INTERNAL_TASKS))

    # A sender that does not know the function, in another test, makes a record.
    before = count()
    return lambda: count() - before


@pytest.fixture
def key(redis: Redis) -> Iterator[str]:
    """Where each run leaves its id and the number of its retries."""
    key = uuid.uuid4().hex
    yield key
    redis.delete(key)


def _parent_and_root(database: Database[Document], task_id: str) -> tuple[str | None, str]:
    document = database[fields.TASKS].find_one(task_id)
    assert document is not None
    return document[fields.PARENT_ID], document[fields.ROOT_ID]


def _runs(redis: Redis, key: str, count: int) -> list[str]:
    wait_until(lambda: redis.llen(key) >= count)
    return [str(each) for each in redis.lrange(key, 0, -1)]


def test_a_task_without_a_record_runs_with_its_retries(
    run: Run, redis: Redis, key: str, unseen: Callable[[], int]
) -> None:
    """Reports, lines of log and metadata go nowhere; get() says at once that there is no result."""
    task_id, error, state = run(f"""
result = unseen.delay(1, {key!r}, "retry")
try:
    result.get(timeout=30, interval=0.02)
except NotImplementedError as error:
    report([result.id, str(error), app.AsyncResult(result.id).state])
""")
    assert _runs(redis, key, 3) == [f"{task_id} {retries}" for retries in range(3)]
    assert "record=False" in error
    assert state == "PENDING"
    assert unseen() == 0


def test_the_steps_around_it_are_recorded(
    api: Api, run: Run, key: str, database: Database[Document], unseen: Callable[[], int]
) -> None:
    """They get its result, and their parent is the step before it; without one they are roots."""
    first, _, last = run(f"report(ids(chain(add.s(1), unseen.s({key!r}), add.s(1))()))")
    task = api.finished(last)
    assert (task["result"], task["args"]) == (4, [3, 1])
    assert _parent_and_root(database, last) == (first, first)
    _, _, last = run("report(ids(chain(unseen.s(1), unseen.s(), add.s(1))()))")
    wait_until(lambda: api.task(last))
    assert api.finished(last)["result"] == 4
    assert _parent_and_root(database, last) == (None, last)
    canvas = "chain(group(add.s(1), add.s(2)), total.s(), unseen.s(), add.s(1))"
    assert run(f"report({canvas}().get(timeout=30, interval=0.02))") == 7
    assert unseen() == 0


def test_a_failure_has_its_consequences(api: Api, run: Run, unseen: Callable[[], int]) -> None:
    """The errback is called, and the later steps fail, whether they are recorded already or not."""
    errback = str(uuid.uuid4())
    last = run(f"""
broken = unseen.si(1, None, "fail").on_error(large.si(3).set(task_id={errback!r}))
report(chain(add.si(1), broken, unseen.s(), add.s(1))().id)
""")
    assert api.finished(last)["error"]["message"] == "unseen"
    wait_until(lambda: api.task(errback))
    assert api.finished(errback)["result"] == "xxx"
    last = run('report(chain(unseen.si(1, None, "fail"), unseen.s(), add.s(1))().id)')
    wait_until(lambda: api.task(last))
    assert api.finished(last)["error"]["message"] == "unseen"
    assert unseen() == 0


@pytest.mark.parametrize("way", ["ignore", "end", "jump"])
def test_the_later_steps_that_it_prevents_are_revoked(api: Api, run: Run, way: str) -> None:
    """They are recorded already: it raises ``Ignore``, takes them out of its chain, or sends the last one by itself."""
    ids = run(f"report(ids(chain(add.si(1), unseen.si(1, None, {way!r}), add.si(1), add.si(2))()))")
    assert api.finished(ids[2])["status"] == "REVOKED"
    assert api.finished(ids[3])["status"] == ("REVOKED" if way == "ignore" else "SUCCESS")


def test_its_result_cannot_be_part_of_a_chord(run: Run, redis: Redis, key: str, unseen: Callable[[], int]) -> None:
    """The sender is refused before anything is sent; such a body is fine, and so is the middle of a member."""
    refused = run("""
def refusal(canvas):
    try:
        canvas.apply_async()
    except ValueError as error:
        return str(error)
report([refusal(canvas) for canvas in (
    chord([add.s(1), unseen.s(1)], total.s()),
    chord([add.s(1), chain(add.s(1), unseen.s())], total.s()),
    chain(add.s(1), group(add.s(1), unseen.s()), total.s()),
    chord([add.s(1), chord([add.s(1)], unseen.s())], total.s()),
)])
""")
    assert all("task_modules.unseen" in text and "record=False" in text for text in refused)
    run(f"""
chord([add.si(1), chain(add.si(1), unseen.s(), add.s(1))], chain(total.s(), unseen.s({key!r})))()
chord([add.si(1), fail.si("broken")], unseen.si(1, {key!r}))()
report(None)
""")
    assert len(_runs(redis, key, 1)) == 1
    assert unseen() == 0


def test_it_replaces_and_is_replaced(api: Api, run: Run, unseen: Callable[[], int]) -> None:
    """A recorded task ends under its own id whatever replaces it; what replaces an unrecorded one is recorded."""
    task_id, other = run('report([replaced_by_unseen.delay(1).id, unseen.delay(1, None, "replace").id])')
    assert api.finished(task_id)["result"] == 2
    wait_until(lambda: api.task(other))
    assert api.finished(other)["result"] == 2
    assert unseen() == 0


def test_what_it_sends_is_recorded_without_a_parent(
    api: Api, run: Run, redis: Redis, key: str, database: Database[Document]
) -> None:
    """A link to it would lead nowhere."""
    sent = run(f'report(chain(unseen.si(1, {key!r}, "send"), echo.s().set(task_id={key!r}))().id)')
    assert sent == key
    wait_until(lambda: api.task(key))
    ((ids,), _) = api.finished(key)["result"]
    assert _parent_and_root(database, ids[0]) == (None, ids[0])
    assert api.task(ids[1]) is None
    assert len(_runs(redis, key, 2)) == 2


def test_a_call_does_not_decide(run: Run) -> None:
    """The option of a call is refused where it is given, also for other functions."""
    refused = run("""
def refusal(function):
    try:
        function.apply_async((1,), record=False)
    except TypeError as error:
        return str(error)
report([refusal(add), refusal(unseen)])
""")
    assert all("@app.task(record=False)" in text for text in refused)


def test_the_api_does_not_create_it(api: Api) -> None:
    """An error says who can send it."""
    payload = api.data(CREATE, input={"name": "task_modules.unseen", "args": [1]})["createTask"]
    (error,) = payload["userErrors"]
    assert (error["code"], error["field"]) == ("INVALID_INPUT", ["input", "name"])
    assert "record=False" in error["message"]


def test_a_message_of_another_sender_runs_once(
    api: Api, environment: dict[str, str], run: Run, redis: Redis, key: str, unseen: Callable[[], int]
) -> None:
    """Stock Celery's has no record; an adopted sender that does not know the function makes one, which ends."""
    run(f"""
stock = Celery("stock", broker=app.conf.broker_url, set_as_current=False)
stock.backend_cls = "disabled"
stock.send_task("task_modules.unseen", (1, {key!r}, "retry"))
report(None)
""")
    assert len(_runs(redis, key, 3)) == 3
    assert unseen() == 0
    program = f'print(app.send_task("task_modules.unseen", (1, {key!r}, "retry"), queue="celery").id)'
    command, env = [sys.executable, "-c", _STRANGER + program], {**environment, "PYTHONPATH": str(ROOT)}
    sent = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=env)
    task = api.finished(sent.stdout.strip())
    assert (task["status"], task["result"], task["attempts"]) == ("SUCCESS", 2, 3)
    assert len(_runs(redis, key, 6)) == 6
