"""Task functions for the tests, as a user would write them."""

from __future__ import annotations

import os
import time
import uuid
from decimal import Decimal
from typing import Any

from celery import group, shared_task, signature
from celery.exceptions import Ignore
from celery.utils.log import get_task_logger
from redis import Redis

from gql_api.worker.app.task import Task
from gql_api.worker.errors import TaskCancelledError

logger = get_task_logger(__name__)


@shared_task
def add(x: int, y: int = 1) -> int:
    """Add two numbers."""
    return x + y


@shared_task
def echo(*args: Any, **kwargs: Any) -> list[Any]:
    """Give back what it was given."""
    return [list(args), kwargs]


@shared_task
def typed() -> dict[str, Any]:
    """Return values that only Celery's JSON knows."""
    return {"uuid": uuid.UUID(int=7), "decimal": Decimal("1.50"), "huge": 2**70, "$dollar.dot": {"": 1}}


@shared_task
def fail(message: str) -> None:
    """Raise an error."""
    raise ValueError(message)


@shared_task(ignore_result=True)
def ignored(fails: bool = False) -> str:
    """Return something that nobody wants."""
    if fails:
        raise RuntimeError("nobody looks")
    return "unwanted"


@shared_task(bind=True, max_retries=2, default_retry_delay=0)
def retries(self: Task, succeed_at: int) -> int:
    """Fail until the given attempt."""
    if self.request.retries < succeed_at:
        raise self.retry(exc=RuntimeError(f"attempt {self.request.retries}"))
    return int(self.request.retries)


@shared_task
def total(numbers: list[int]) -> int:
    """Add up numbers."""
    return sum(numbers)


@shared_task(bind=True)
def replaced(self: Task, x: int) -> Any:
    """Let a group do the work."""
    return self.replace(group(add.s(x), add.s(x + 1)))


@shared_task(bind=True)
def joined_by(self: Task, x: int) -> int:
    """Take another task along into the chord."""
    self.add_to_chord(add.s(x))
    return 1


@shared_task(bind=True)
def wait_for_key(self: Task, key: str, progress: int = 0) -> str:
    """Report some progress, then wait until the test pushes something to a Redis list."""
    for done in range(progress):
        self.report_progress(done + 1, progress)
    redis = Redis.from_url(os.environ["CELERY_BROKER_URL"], socket_timeout=None)
    redis.lpush(f"{key}:started", self.request.hostname)
    redis.brpop([key], timeout=60)
    return "released"


@shared_task(bind=True)
def idiom(self: Task, key: str) -> str:
    """Use Celery's own way to tell progress and other states, a step each time the test says so."""
    redis = Redis.from_url(os.environ["CELERY_BROKER_URL"], socket_timeout=None)
    self.update_state(state="PROGRESS", meta={"current": 1, "total": 4, "message": "quarter", "extra": ["$x.y"]})
    redis.brpop([key], timeout=60)
    self.update_state(state="UPLOADING", meta={"to": "there"})
    redis.brpop([key], timeout=60)
    return "done"


@shared_task(bind=True)
def burst(self: Task, count: int) -> None:
    """Report far more often than a screen can use, and end at once."""
    for done in range(count):
        self.report_progress(done + 1, count)


@shared_task(bind=True)
def odd_progress(self: Task) -> str:
    """Report what no progress bar can show."""
    self.report_progress(1, 2, ValueError("no text \ud800"))
    self.update_state(state="PROGRESS", meta={"current": 10**400})
    return "fine"


@shared_task(bind=True)
def tells_failure_by_hand(self: Task) -> None:
    """Use the idiom of Celery's documentation for a failure with a meta of one's own."""
    self.update_state(state="FAILURE", meta={"why": "by hand"})
    raise Ignore


@shared_task(bind=True, track_started=True)
def tracked(self: Task) -> str:
    """Tell its start by hand, as one may with Celery."""
    self.update_state(state="STARTED", meta={"pid": 1})
    return "told"


@shared_task(bind=True, max_retries=5)
def next_page(self: Task, page: int) -> int:
    """Go on by retries with other arguments."""
    if page < 3:
        raise self.retry(args=(page + 1,), countdown=0.05)
    return page


@shared_task(bind=True, max_retries=5)
def unsendable_retry(self: Task) -> None:
    """Ask for a retry with arguments that the function does not take."""
    raise self.retry(args=("too many",), countdown=0)


class Tenant(Task):
    """A base class that adds its own to what is sent and started, in the ways that are usual."""

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Send along who asks."""
        return super().apply_async(args, kwargs, **{**options, "headers": {"tenant": "t", "attempt": 7, "fence": 1}})

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:  # noqa: ARG002 - Celery's signature
        """Refuse what is not allowed, without a word to the class above."""
        if args == ["refused"]:
            raise Ignore

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run as the tenant."""
        return ["as tenant", super().__call__(*args, **kwargs)]


@shared_task(base=Tenant)
def of_tenant(value: str) -> str:
    """Give back what it was given."""
    return value


@shared_task
def sends_for_tenant() -> str:
    """Send a task whose class has its own way to send."""
    return str(of_tenant.delay("sent").id)


@shared_task(soft_time_limit=1)
def eager_inside() -> None:
    """Run another task in place, and exceed the time limit."""
    add.apply((1,))
    time.sleep(10)


@shared_task
def large(size: int) -> str:
    """Return a long text."""
    return "x" * size


@shared_task
def unserializable() -> object:
    """Return what no serializer knows."""
    return object()


@shared_task(bind=True)
def cancellable(self: Task, key: str) -> str:
    """Report progress until somebody wants no more."""
    redis = Redis.from_url(os.environ["CELERY_BROKER_URL"], socket_timeout=None)
    redis.lpush(f"{key}:started", 1)
    done = 0
    try:
        while True:
            done += 1
            self.report_progress(done)
            time.sleep(0.05)
    except TaskCancelledError:
        redis.lpush(f"{key}:cleaned", done)
        raise


@shared_task(bind=True)
def polite(self: Task, key: str) -> str:
    """Stop when asked to, with a result all the same."""
    Redis.from_url(os.environ["CELERY_BROKER_URL"]).lpush(f"{key}:started", 1)
    while not self.is_cancelled():
        time.sleep(0.05)
    return "half of it"


@shared_task(bind=True, max_retries=None)
def stubborn(self: Task, key: str) -> None:
    """Ask for one more attempt an hour from now, when the test lets it."""
    redis = Redis.from_url(os.environ["CELERY_BROKER_URL"], socket_timeout=None)
    redis.lpush(f"{key}:started", 1)
    redis.brpop([key], timeout=60)
    raise self.retry(countdown=3600)


@shared_task
def has_children(key: str) -> list[str]:
    """Send tasks that start much later, and wait."""
    children = [add.apply_async((n,), countdown=3600).id for n in range(3)]
    redis = Redis.from_url(os.environ["CELERY_BROKER_URL"], socket_timeout=None)
    redis.lpush(f"{key}:started", *children)
    redis.brpop([key], timeout=60)
    return children


@shared_task(bind=True)
def keeps_notes(self: Task, key: str) -> dict[str, Any]:
    """Read and change its own metadata while the test changes it too."""
    redis = Redis.from_url(os.environ["CELERY_BROKER_URL"], socket_timeout=None)
    before = self.metadata
    self.update_metadata({"stage.name": "load", "when": Decimal("1.5")}, increment={"rows": 10})
    redis.lpush(f"{key}:started", 1)
    redis.brpop([key], timeout=60)
    self.update_metadata(append={"files": "a.csv"}, increment={"rows": 5}, unset=["when"])
    return {"before": before, "after": self.metadata}


@shared_task(bind=True)
def says_much(self: Task) -> None:
    """Log in every way there is."""
    self.log("%d of %s", 1, "two")
    self.log("named %(n)d", {"n": 3}, level="debug")
    logger.warning("careful: %s", "hot")
    logger.debug("below the level of the worker")
    self.log("lone \ud800, \0, 100%")
    self.log("does not fit %d %d", "it")
    try:
        fail.run("no")
    except ValueError:
        logger.exception("failed")
    echoes_log.run("called")
    echoes_log.apply(("eager",))
    self.log("critical", level=50)


@shared_task
def echoes_log(text: str) -> None:
    """Log what it was given."""
    logger.info(text)


@shared_task(bind=True)
def repeats(self: Task, key: str) -> None:
    """Log what the test pushes to a Redis list, until that is nothing."""
    redis = Redis.from_url(os.environ["CELERY_BROKER_URL"], decode_responses=True, socket_timeout=None)
    while pushed := redis.brpop([key], timeout=60):
        if not pushed[1]:
            return
        self.log(pushed[1])


@shared_task(bind=True)
def floods(self: Task, lines: int, size: int = 1) -> str:
    """Log a lot, and end at once."""
    for line in range(lines):
        self.log(str(line).ljust(size, "."))
    return "done"


@shared_task(bind=True, max_retries=3)
def logs_and_retries(self: Task, lines: int) -> None:
    """Log in each of three attempts."""
    for line in range(lines):
        self.log("attempt %d line %d", self.request.retries, line)
    if self.request.retries < 2:
        raise self.retry(countdown=0)


@shared_task(bind=True)
def logs_and_is_replaced(self: Task) -> Any:
    """Log, then let another task do the rest."""
    self.log("before")
    return self.replace(echoes_log.si("after"))


@shared_task(bind=True)
def step_by_step(self: Task, key: str) -> str:
    """Report as many steps as the test says, each of which is stored, until it says none."""
    redis = Redis.from_url(os.environ["CELERY_BROKER_URL"], socket_timeout=None)
    done = 0
    while (pushed := redis.brpop([key], timeout=120)) and (steps := int(pushed[1])):
        for _ in range(steps):
            done += 1
            self.update_state(state=f"STEP {done}")
            self.report_progress(done)
    return "done"


class Unspeakable:
    """A value that has neither a text nor a number."""

    def __str__(self) -> str:
        raise KeyError("no text")

    __repr__ = __float__ = __str__


@shared_task(bind=True)
def reports_nonsense(self: Task, last: str) -> str:
    """Report everything that cannot be reported, twice, and something useful at the end."""
    numbers: list[Any] = ["many", "", float("nan"), "-inf", 10**400, Decimal("sNaN"), 1j, [1], Unspeakable(), None]
    nested: Any = []
    for _ in range(5000):
        nested = [nested]
    circular: dict[str, Any] = {}
    circular["self"] = circular
    metas = [None, 5, "text", [object()], object(), {(1, 2): 3}, circular, {"nested": nested}, {"x": Unspeakable()}]
    metas += [{"current": value} for value in numbers] + [{"x" * 17_000_000: 1}, {"x": "\0\ud800" * 10, "y": 2**70}]
    for _ in range(2):
        for value in numbers:
            self.report_progress(value)
            self.report_progress(1, value, Unspeakable())
            self.log("level %s", "any", level=value)
            self.log(value, value)
        for meta in metas:
            for state in ("PROGRESS", "UPLOADING"):
                self.update_state(state=state, meta=meta)
    if last == "large":
        self.update_state(state="PROGRESS", meta={"current": 1, "text": "x" * 17_000_000})
    elif last == "partly":
        self.update_state(state="PROGRESS", meta={"current": 3, "model": object()})
    else:
        self.report_progress("3", Decimal("4.5"), Unspeakable())
    return "done"


@shared_task(bind=True)
def ends_chain(self: Task, key: str) -> str:
    """Wait for a key, then let nothing follow: a well-known use of the request."""
    with Redis.from_url(os.environ["CELERY_BROKER_URL"]) as client:
        client.blpop([key], timeout=30)
    self.request.chain = None
    return "enough"


@shared_task(bind=True)
def skips(self: Task) -> None:
    """Set the result by hand, and raise ``Ignore``: Celery sends no later step."""
    self.update_state(state="SUCCESS", meta="skipped")
    raise Ignore


@shared_task(bind=True, record=False, max_retries=3, default_retry_delay=0)
def unseen(self: Task, x: int, key: str | None = None, way: str = "return") -> Any:
    """Add one, without a record."""
    self.report_progress(1, 2)
    self.log("nobody reads this")
    logger.info("nor this")
    self.update_metadata({"a": 1})
    self.update_state(state="PROGRESS", meta={"current": 1})
    if key is not None:
        with Redis.from_url(os.environ["CELERY_BROKER_URL"]) as client:
            client.rpush(key, f"{self.request.id} {self.request.retries}")
    if way == "retry" and self.request.retries < 2:
        raise self.retry(countdown=0.1)
    if way == "fail":
        raise ValueError("unseen")
    if way == "exit":
        os._exit(1)
    if way == "replace":
        return self.replace(add.si(x))
    if way == "ignore":
        raise Ignore
    if way == "end":
        self.request.chain.pop()
    if way == "jump":
        signature(self.request.chain[0]).apply_async()
        self.request.chain = None
    if way == "send":
        return [add.delay(x).id, unseen.delay(x, key).id]
    return x + 1


@shared_task(bind=True)
def replaced_by_unseen(self: Task, x: int) -> Any:
    """Let a function without records do the work."""
    return self.replace(unseen.si(x))
