"""The documents of an invented history: the tasks of a shop over ninety days.

Every document has the fields that ``gql_api.record`` gives a task in its state, which a test compares. Each chunk has
a seed of its own, so that the same seed makes the same tasks in any number of processes.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from bson.datetime_ms import DatetimeMS

from gql_api import values
from gql_api.record import fields as f
from gql_api.record.fields import Status

Document = dict[str, Any]

CHUNK = 2_000
CUSTOMERS = 100_000
_DAY_MS = 86_400_000
SPAN_MS = 90 * _DAY_MS
# A fixed day, 2026-01-01: the same seed makes the same times.
END_MS = 20_454 * _DAY_MS

_VERBS = ("capture", "refund", "ship", "notify", "render", "index", "export", "import", "resize", "reconcile")
_THINGS = ("order", "invoice", "parcel", "report", "image")
NAMES = [f"shop.{thing}s.{verb}" for thing in _THINGS for verb in _VERBS]
QUEUES = ["default", "mail", "media", "reports", "billing"]
WORKERS = [f"celery@worker-{number:02}" for number in range(1, 41)]
_TIERS, _TIER_SHARES = ("free", "plus", "business", "enterprise"), (80, 14, 5, 1)
_REGIONS, _REGION_SHARES = ("eu-central", "us-east", "us-west", "ap-south", "sa-east"), (45, 25, 15, 10, 5)
_TAGS = ("gift", "express", "fragile", "b2b", "preorder", "häufig", "retry-ok", "vip")
_ERRORS = ("ConnectionError", "TimeoutError", "ValueError", "KeyError", "PaymentDeclinedError")
# As in Zipf's law: the second name is half as frequent as the first.
_NAME_SHARES = list(accumulate(1 / rank for rank in range(1, len(NAMES) + 1)))

_ENDS, _END_SHARES = (Status.SUCCESS, Status.FAILURE, Status.REVOKED), (920, 50, 10)
_OPEN, _OPEN_SHARES = (Status.QUEUED, Status.SCHEDULED, Status.STARTED, Status.RETRY), (50, 25, 15, 10)
# Half of the newest twenty-fifth is unfinished: one task in fifty.
_OPEN_FROM, _OPEN_PART = 0.96, 0.5
_SAME_MOMENT = 0.1
_WITH_PARENT = 0.05
_SCHEDULED_PART = 0.05
_RETRIED_PART = 0.03
_PROGRESS_PART = 0.1
_EXPIRED_PART = 0.3


def order_of(number: int) -> str:
    """Return the order in the metadata of a task; no other task has it."""
    return f"ord-{number:08}"


def customer_of(number: int) -> str:
    """Return the id of a customer, from 0 to :data:`CUSTOMERS`; the first have most of the tasks."""
    return f"cus-{number:06}"


@dataclass
class _Life:
    """A task on its way through its states."""

    document: Document
    now: int

    def step(self, status: Status, after_ms: int, *, worker: str | None = None, message: str | None = None) -> None:
        self.now += after_ms
        document = self.document
        document[f.REVISION] += 1
        document[f.STATUS] = status
        document[f.UPDATED_AT] = at = DatetimeMS(self.now)
        entry = {f.REVISION: document[f.REVISION], f.STATUS: status, f.AT: at}
        if worker is not None or f.WORKER in document:
            entry[f.WORKER] = worker or document[f.WORKER]
        if message is not None:
            entry[f.MESSAGE] = message
        document[f.HISTORY].append(entry)


class Chunk:
    """A part of ``total`` tasks that one process makes: ``count`` tasks from ``first`` on."""

    def __init__(self, first: int, count: int, total: int, seed: int) -> None:
        self._first, self._count, self._total = first, count, total
        self._random = random.Random(f"{seed}-{first}")  # noqa: S311 # nothing is kept secret by it
        self._names = self._random.choices(range(len(NAMES)), cum_weights=_NAME_SHARES, k=count)
        self._tiers = self._random.choices(_TIERS, _TIER_SHARES, k=count)
        self._regions = self._random.choices(_REGIONS, _REGION_SHARES, k=count)
        self._ends = self._random.choices(_ENDS, _END_SHARES, k=count)
        self._open = self._random.choices(_OPEN, _OPEN_SHARES, k=count)

    def documents(self) -> Iterator[Document]:
        """Yield the documents, oldest first."""
        before: Document | None = None
        moment = 0
        for index in range(self._count):
            number = self._first + index
            if before is None or self._random.random() > _SAME_MOMENT:
                slot = SPAN_MS / self._total
                moment = END_MS - SPAN_MS + int(slot * (number + self._random.random()))
            parent = before if self._random.random() < _WITH_PARENT else None
            unfinished = number >= _OPEN_FROM * self._total and self._random.random() < _OPEN_PART
            status = (self._open if unfinished else self._ends)[index]
            before = self._lived(self._created(index, moment, parent), moment, status)
            yield before

    def _created(self, index: int, moment: int, parent: Document | None) -> Document:
        number, name = self._first + index, self._names[index]
        task_id = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        return {
            f.ID: task_id,
            f.SHAPE: f.SHAPE_VERSION,
            f.REVISION: 1,
            f.NAME: NAMES[name],
            f.ARGS: values.dump([number]),
            f.KWARGS: values.dump({"dry_run": False, "locale": "de"} if number % 2 else {}),
            f.METADATA: values.dump(self._metadata(index)),
            f.ATTEMPTS: 0,
            f.QUEUE: QUEUES[name % len(QUEUES)],
            f.PRIORITY: self._random.choice((0, 0, 0, 3, 9)),
            f.PARENT_ID: parent[f.ID] if parent else None,
            f.ROOT_ID: parent[f.ROOT_ID] if parent else task_id,
            f.STATUS: Status.QUEUED,
            f.CREATED_AT: (at := DatetimeMS(moment)),
            f.UPDATED_AT: at,
            f.DUE_AT: at,
            f.HISTORY: [{f.REVISION: 1, f.STATUS: Status.QUEUED, f.AT: at}],
        }

    def _metadata(self, index: int) -> Document:
        pick = self._random
        customer = {
            "id": customer_of(int(CUSTOMERS * pick.random() ** 2)),
            "tier": self._tiers[index],
            "region": self._regions[index],
        }
        items = [
            {"sku": f"SKU-{pick.randrange(5_000):04}", "quantity": pick.randint(1, 9)}
            for _ in range(pick.randint(1, 3))
        ]
        metadata: Document = {
            "customer": customer,
            "order": order_of(self._first + index),
            "tags": pick.sample(_TAGS, pick.randrange(5)),
            "items": items,
            "priority": pick.randint(1, 5) if pick.random() < 0.5 else pick.randint(2, 10) / 2,  # noqa: PLR2004 # half
            "source.channel": pick.choice(("web", "app", "phone")),
        }
        # One in five has a coupon, as many have null, and the rest have no such key.
        coupon = pick.randrange(5)
        if coupon < 2:  # noqa: PLR2004 # as above
            metadata["coupon"] = None if coupon else f"C{pick.randrange(1000)}"
        return metadata

    def _lived(self, document: Document, moment: int, status: Status) -> Document:
        pick, life = self._random, _Life(document, moment)
        if status is Status.SCHEDULED or pick.random() < _SCHEDULED_PART:
            document[f.STATUS] = document[f.HISTORY][0][f.STATUS] = Status.SCHEDULED
            document[f.SCHEDULED_FOR] = document[f.DUE_AT] = DatetimeMS(moment + pick.randint(60_000, _DAY_MS))
            if status is Status.SCHEDULED:
                return document
            life.step(Status.QUEUED, int(document[f.DUE_AT]) - moment)
            document[f.DUE_AT] = DatetimeMS(life.now)
        if status is Status.QUEUED:
            return document
        if status is Status.REVOKED:
            self._revoked(life)
            return document
        self._started(life)
        if status is Status.RETRY or pick.random() < _RETRIED_PART:
            self._retried(life)
            if status is Status.RETRY:
                return document
            life.step(Status.QUEUED, 30_000)
            self._started(life)
        if pick.random() < _PROGRESS_PART:
            done = pick.randint(1, 100)
            document[f.REVISION] += done
            document[f.PROGRESS] = {f.CURRENT: float(done), f.TOTAL: 100.0, f.MESSAGE: "rows", f.DATA: None}
        if status is not Status.STARTED:
            self._ended(life, status)
        return document

    def _started(self, life: _Life) -> None:
        pick, document = self._random, life.document
        worker = pick.randrange(len(WORKERS))
        life.step(Status.STARTED, int(pick.expovariate(1 / 3_000)), worker=WORKERS[worker])
        document[f.ATTEMPTS] += 1
        document[f.WORKER] = WORKERS[worker]
        document[f.STARTED_AT] = DatetimeMS(life.now)
        document[f.CLAIM] = f"{pick.getrandbits(128):032x}"
        document[f.WORKER_RUN] = f"{worker:032x}"
        document[f.PID] = 1_000 + worker
        document[f.DUE_AT] = DatetimeMS(life.now + 15_000)
        document.pop(f.ERROR, None)
        document.pop(f.PROGRESS, None)

    def _released(self, document: Document) -> None:
        for name in (f.CLAIM, f.WORKER_RUN, f.PID, f.DUE_AT, f.MESSAGE_PARTS):
            document.pop(name, None)

    def _retried(self, life: _Life) -> None:
        document = life.document
        error = self._error(self._random.choice(_ERRORS), document[f.NAME])
        life.step(Status.RETRY, self._taken_ms(), message=error[f.MESSAGE])
        self._released(document)
        document[f.DUE_AT] = DatetimeMS(life.now + 30_000)
        parts = {"task": document[f.NAME], "args": document[f.ARGS], "kwargs": document[f.KWARGS]}
        document[f.MESSAGE_PARTS] = values.dump(parts)
        document[f.ERROR] = error

    def _revoked(self, life: _Life) -> None:
        document = life.document
        expired = self._random.random() < _EXPIRED_PART
        error: Document = {
            f.TYPE: "TaskRevokedError",
            f.MODULE: "celery.exceptions",
            f.ARGS: ["expired"],
            f.MESSAGE: "expired",
        }
        if not expired:
            error |= {f.ARGS: ["no longer wanted"], f.MESSAGE: "no longer wanted"}
        life.step(Status.REVOKED, 60_000, message=error[f.MESSAGE])
        self._released(document)
        document[f.ERROR] = {**error, f.TRACEBACK: None}
        document[f.FINISHED_AT] = at = DatetimeMS(life.now)
        document[f.EXPIRES_AT if expired else f.CANCEL_REQUESTED_AT] = at

    def _ended(self, life: _Life, status: Status) -> None:
        document = life.document
        if status is Status.SUCCESS:
            life.step(status, self._taken_ms())
            document[f.RESULT] = values.dump({"ok": True, "rows": self._random.randrange(10_000)})
        else:
            document[f.ERROR] = error = self._error(self._random.choice(_ERRORS), document[f.NAME])
            life.step(status, self._taken_ms(), message=error[f.MESSAGE])
        self._released(document)
        document[f.FINISHED_AT] = DatetimeMS(life.now)

    def _taken_ms(self) -> int:
        return 1 + int(self._random.lognormvariate(6, 1.5))

    def _error(self, name: str, task: str) -> Document:
        message = f"upstream answered {self._random.randint(400, 599)}"
        line = f'  File "/srv/shop/tasks.py", line {self._random.randrange(900)}, in {task.rpartition(".")[2]}\n'
        return {
            f.TYPE: name,
            f.MODULE: "builtins" if name != "PaymentDeclinedError" else "shop.payments",
            f.ARGS: [message],
            f.MESSAGE: message,
            f.TRACEBACK: f"Traceback (most recent call last):\n{line}    call(order)\n{name}: {message}\n",
        }
