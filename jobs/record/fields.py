"""Collections, field names, states and indexes of the task record."""

from __future__ import annotations

from enum import StrEnum

TASKS = "tasks"
INTERNAL_TASKS = "internal_tasks"
GROUPS = "groups"
CHORDS = "chords"
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

# One list of keys an index, each with the query it serves.
INDEXES = [
    NEWEST_FIRST,  # tasks(first, after): the page after a cursor
    [(PARENT_ID, 1), *NEWEST_FIRST],  # Task.children(first, after)
]

# What an event leaves out when it would be too large, in this order, until it fits.
OMITTABLE = (RESULT, ARGS, KWARGS, ERROR, METADATA, PROGRESS)
