"""Collections, field names, states and indexes of the task record."""

from __future__ import annotations

from enum import StrEnum

from pymongo import IndexModel

TASKS = "tasks"
INTERNAL_TASKS = "internal_tasks"
GROUPS = "groups"
CHORDS = "chords"
CHORD_PARTS = "chord_parts"
CHORD_SHAPES = "chord_shapes"
TURNS = "turns"
DEFINITIONS = "task_definitions"
WORKERS = "workers"

SHAPE_VERSION = 1
HISTORY_LENGTH = 50

ID = "_id"
SHAPE = "shape"
REVISION = "revision"
STATUS = "status"
NAME = "name"
ARGS = "args"
KWARGS = "kwargs"
METADATA = "metadata"
RESULT = "result"
ERROR = "error"
PROGRESS = "progress"
CUSTOM_STATE = "custom_state"
CHILDREN = "children"
FORGOTTEN = "forgotten"
ATTEMPTS = "attempts"
# How many attempts ended with the loss of their worker.
LOST_ATTEMPTS = "lost_attempts"
# Who holds a STARTED task: the claim's own mark, the run of the worker, and the process in it.
CLAIM = "claim"
WORKER_RUN = "worker_run"
PID = "pid"
# When somebody has to look after the task. SCHEDULED, RETRY: it is due. STARTED: its lease ends. QUEUED: its message
# was sent last. A task without it is left alone.
DUE_AT = "due_at"
EXPIRES_AT = "expires_at"
# What its message has beside what stands here: callbacks, chain, chord, limits.
MESSAGE_PARTS = "message_parts"
# What a chord's member with ``ignore_result`` returned, until the chord's body is sent.
CHORD_RESULT = "chord_result"
QUEUE = "queue"
PRIORITY = "priority"
WORKER = "worker"
PARENT_ID = "parent_id"
ROOT_ID = "root_id"
CREATED_AT = "created_at"
UPDATED_AT = "updated_at"
STARTED_AT = "started_at"
FINISHED_AT = "finished_at"
HISTORY = "history"

# Inside ERROR, PROGRESS, CUSTOM_STATE and an entry of HISTORY.
TYPE = "type"
MODULE = "module"
MESSAGE = "message"
TRACEBACK = "traceback"
CURRENT = "current"
TOTAL = "total"
DATA = "data"
AT = "at"


class Status(StrEnum):
    """Where a task is in its life; docs/lifecycle.md draws the way from one to the next."""

    SCHEDULED = "SCHEDULED"
    QUEUED = "QUEUED"
    STARTED = "STARTED"
    RETRY = "RETRY"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    REVOKED = "REVOKED"

    @property
    def is_final(self) -> bool:
        """Whether a task in this state will never change again."""
        return self in FINAL


def is_internal(name: str) -> bool:
    """Whether a task is Celery's own, like ``celery.map``: it may have a result, but is nobody's task."""
    return name.startswith("celery.")


FINAL = frozenset({Status.SUCCESS, Status.FAILURE, Status.REVOKED})

NEWEST_FIRST = [(CREATED_AT, -1), (ID, -1)]

# Each with the query it serves. The partial ones hold unfinished tasks only.
INDEXES = [
    IndexModel(NEWEST_FIRST),  # tasks(first, after): the page after a cursor
    IndexModel([(PARENT_ID, 1), *NEWEST_FIRST]),  # Task.children(first, after)
    IndexModel(
        [(STATUS, 1), (DUE_AT, 1)], partialFilterExpression={DUE_AT: {"$exists": True}}
    ),  # recovery: what is due
    IndexModel(
        [(STATUS, 1), (EXPIRES_AT, 1)], partialFilterExpression={EXPIRES_AT: {"$exists": True}}
    ),  # recovery: what expires
]

# What an event leaves out when it would be too large, in this order, until it fits.
OMITTABLE = (RESULT, ARGS, KWARGS, ERROR, METADATA, PROGRESS)
# What no client sees; left out of every event.
PRIVATE = (MESSAGE_PARTS, CLAIM, WORKER_RUN, PID, CHORD_RESULT)
