"""Collections, field names, states and indexes of the task record."""

from __future__ import annotations

from enum import StrEnum

from pymongo import IndexModel

TASKS = "tasks"
INTERNAL_TASKS = "internal_tasks"
GROUPS = "groups"
CHORDS = "chords"
TASK_LOGS = "task_logs"
CHORD_PARTS = "chord_parts"
CHORD_DEFINITIONS = "chord_shapes"
LEADER_LOCKS = "turns"
DEFINITIONS = "task_definitions"
TOMBSTONES = "tombstones"
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
# The time that its caller asked for, as long as anybody may want to know it.
SCHEDULED_FOR = "scheduled_for"
# When somebody asked for its end, why, and whether its process may be ended for it.
CANCEL_REQUESTED_AT = "cancel_requested_at"
CANCEL_REASON = "cancel_reason"
CANCEL_FORCE = "cancel_force"
OWNER = "owner"
IDEMPOTENCY_KEY = "idempotency_key"
# Of the input that came with the key: the same key with another input is a mistake.
INPUT_DIGEST = "input_digest"
REPLAY_OF = "replay_of"
# Whether it was replayed: a bulk replay takes each task once.
REPLAYED = "replayed"
# The revision that metadata was last changed at; a record without it has the metadata of its creation.
METADATA_REVISION = "metadata_revision"
# The marks of the last changes by task functions: one whose reply was lost knows itself by it.
METADATA_MARKS = "metadata_marks"
# Whose turn it was to send what had become due; see ``due.take``.
TAKEN_BY = "taken_by"
DELETED_AT = "deleted_at"
# How much its attempts have logged; see gql_api.record.logs.
LOGGED = "logged"
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
FINAL_NAMES = sorted(FINAL)
WAITING = frozenset({Status.SCHEDULED, Status.QUEUED, Status.RETRY})

NEWEST_FIRST = [(CREATED_AT, -1), (ID, -1)]

# Deleted ids are remembered for so long: longer than any message of theirs may turn up again.
TOMBSTONE_SECONDS = 30 * 24 * 3600
TOMBSTONE_INDEXES = [IndexModel([(DELETED_AT, 1)], expireAfterSeconds=TOMBSTONE_SECONDS)]

UNIQUE_INDEXES = [
    IndexModel(
        [(OWNER, 1), (NAME, 1), (IDEMPOTENCY_KEY, 1)],
        unique=True,
        partialFilterExpression={IDEMPOTENCY_KEY: {"$exists": True}},
    ),  # createTask: one task for a key
]

# Each with the query it serves. Those by DUE_AT and EXPIRES_AT hold unfinished tasks only. The first three also serve
# lists of every status: MongoDB merges one stretch of the index for each.
INDEXES = [
    IndexModel([(STATUS, 1), *NEWEST_FIRST]),  # tasks(orderBy: CREATED_AT), retention, counts by status
    IndexModel([(STATUS, 1), (UPDATED_AT, -1), (ID, -1)]),  # tasks(orderBy: UPDATED_AT), by status or not
    IndexModel(
        [(STATUS, 1), (FINISHED_AT, -1), (ID, -1)], partialFilterExpression={FINISHED_AT: {"$exists": True}}
    ),  # tasks(orderBy: FINISHED_AT), by status or not
    IndexModel([(f"{METADATA}.$**", 1)]),  # tasks(filter: {metadata}): what a path selects
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
# What few events are asked for and all have: folded up in an event, and unfolded for those who ask.
LAZY = (ARGS, KWARGS, METADATA, HISTORY, CHILDREN)
# What no client sees; left out of every event.
PRIVATE = (
    MESSAGE_PARTS, CLAIM, WORKER_RUN, PID, TAKEN_BY, INPUT_DIGEST, METADATA_MARKS, LOGGED, CHORD_RESULT,
    REPLAYED,
)  # fmt: skip
