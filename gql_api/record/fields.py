"""The names of collections and fields, the states and the indexes of the task record."""

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
BARRIERS = "barriers"

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
# The arguments as the function receives them, if those above have hidden values.
HIDDEN = "hidden"
RESULT = "result"
ERROR = "error"
PROGRESS = "progress"
CUSTOM_STATE = "custom_state"
CHILDREN = "children"
FORGOTTEN = "forgotten"
ATTEMPTS = "attempts"
# The number of attempts whose process was lost while its worker lived on, and of those whose whole worker was lost.
# Workers of earlier versions count both as the first.
LOST_ATTEMPTS = "lost_attempts"
LOST_WORKERS = "lost_workers"
# The number of attempts whose function raised ``Reject(requeue=True)``.
REJECTIONS = "rejections"
# The holder of a STARTED task: the token of the claim, the run of the worker, and the process in it.
CLAIM = "claim"
WORKER_RUN = "worker_run"
PID = "pid"
# The time that recovery goes by. SCHEDULED, RETRY: the task is due. STARTED: its lease ends. QUEUED: its message was
# last sent. REVOKED: what follows the task has to be ended. Recovery leaves a task without it alone, and one with the
# time ``due.WITH_STOCK_WORKER``.
DUE_AT = "due_at"
# While stock Celery processes share the queues: whether no process has noted yet that the message of the task is sent.
UNSENT = "unsent"
EXPIRES_AT = "expires_at"
# The start time that the caller asked for.
SCHEDULED_FOR = "scheduled_for"
# The time of the cancel request, its reason, and whether it may end the process of the task.
CANCEL_REQUESTED_AT = "cancel_requested_at"
CANCEL_REASON = "cancel_reason"
CANCEL_FORCE = "cancel_force"
# The subject of the caller who requested it, which is the actor of the REVOKED transition.
CANCEL_ACTOR = "cancel_actor"
OWNER = "owner"
# The tenant of the owner.
TENANT = "tenant"
# The space of the idempotency key: principals that see different tasks have different spaces.
KEY_SPACE = "key_space"
IDEMPOTENCY_KEY = "idempotency_key"
# The digest of the input that came with the key: the same key with another input is an error.
INPUT_DIGEST = "input_digest"
REPLAY_OF = "replay_of"
# Whether the task was replayed: a bulk replay takes each task once, and filters find those that were not.
REPLAYED = "replayed"
# The revision of the last change of the metadata; a record without it has the metadata of its creation.
METADATA_REVISION = "metadata_revision"
# The former metadata, oldest first, each with the revision and the time of the change that replaced it.
# With it the live feed knows what a principal could see. A record whose metadata has not changed does not have it.
METADATA_PAST = "metadata_past"
# In an entry of those: the revision that had stored them. Processes of earlier versions leave it out.
FIRST_REVISION = "first_revision"
# In the event of a change of metadata only: the metadata before it.
METADATA_BEFORE = "metadata_before"
# The tokens of the last changes by task functions: a change whose reply was lost recognises itself by its token.
METADATA_TOKENS = "metadata_marks"
# The process that sends the message of a task that became due; see ``due.take``.
TAKEN_BY = "taken_by"
# The token of the sender that created the record: a creation whose reply was lost recognises itself by it.
SENDER_TOKEN = "sender_token"  # noqa: S105 - the name of a field
DELETED_AT = "deleted_at"
# What recovery has moved out of the way in a record that does not fit: its times, and the problem.
SET_ASIDE = "set_aside"
# The counts of logged lines and bytes; see gql_api.record.logs.
LOGGED = "logged"
# The parts of the message that no other field has: callbacks, chain, chord, limits.
MESSAGE_PARTS = "message_parts"
# The header, kept among those, with the version of the function that the message was made for.
VERSION_HEADER = "gql_api_version"
# The chord that the task is a member of.
CHORD_ID = "chord_id"
# The return value of a chord's member with ``ignore_result``, until the chord's body is sent.
CHORD_RESULT = "chord_result"
# The step that a later one of its chain, or the body of its chord, is sent after: such a task is QUEUED, has no message
# and no due time, and is recorded so that clients find it. A worker of an earlier version sends it like any other.
WAITS_FOR = "waits_for"
# How it is sent, one of WaitsKind. Absent where the record of the step that it waits for does not tell whether it will
# be: recovery leaves such a task alone.
WAITS_KIND = "waits_kind"
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
# The path of the type of the error.
ERROR_TYPE = f"{ERROR}.{TYPE}"


# In an entry of HISTORY: the subject of the caller who made the change.
ACTOR = "actor"

# The message of the entry with which the history of such a task begins.
WAITS_FOR_STEP = "waits for an earlier step"


class Status(StrEnum):
    """The state of a task; docs/lifecycle.md has the diagram of the transitions."""

    SCHEDULED = "SCHEDULED"
    QUEUED = "QUEUED"
    STARTED = "STARTED"
    RETRY = "RETRY"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    REVOKED = "REVOKED"

    @property
    def is_final(self) -> bool:
        """True if a task in this state has ended."""
        return self in FINAL


class WaitsKind(StrEnum):
    """The way in which a task that waits for an earlier step is sent."""

    NEXT = "next"
    """By the end of the task that it waits for."""
    LATER = "later"
    """After something that the end of this task sends: a chord, or a task without a record."""
    CHORD = "chord"
    """By the end of the chord that it waits for."""


def is_internal(name: str) -> bool:
    """Return whether a task is Celery's own, like ``celery.map``: it may have a result, but no record."""
    return name.startswith("celery.")


FINAL = frozenset({Status.SUCCESS, Status.FAILURE, Status.REVOKED})
FINAL_NAMES = sorted(FINAL)
WAITING = frozenset({Status.SCHEDULED, Status.QUEUED, Status.RETRY})

NEWEST_FIRST = [(CREATED_AT, -1), (ID, -1)]
# Of queued tasks: those of one queue, priority and function lie together, oldest first.
WAITING_KEYS = [(QUEUE, 1), (PRIORITY, 1), (NAME, 1), (DUE_AT, 1)]

# Tombstones are kept for longer than a message of a deleted task can survive in the broker.
TOMBSTONE_SECONDS = 30 * 24 * 3600
TOMBSTONE_INDEXES = [IndexModel([(DELETED_AT, 1)], expireAfterSeconds=TOMBSTONE_SECONDS)]

UNIQUE_INDEXES = [
    IndexModel(
        # In this order it also serves processes of earlier versions, which know no key spaces.
        [(NAME, 1), (IDEMPOTENCY_KEY, 1), (KEY_SPACE, 1)],
        unique=True,
        partialFilterExpression={IDEMPOTENCY_KEY: {"$exists": True}},
    ),  # createTask: one task for a key
]
# The unique index of earlier versions, which had no key spaces. It would refuse the same key in two spaces of an owner.
FORMER_UNIQUE_INDEX = "owner_1_name_1_idempotency_key_1"

# Each index with the query it serves. Those by DUE_AT and EXPIRES_AT hold unfinished tasks only. The one by QUEUE holds
# queued tasks only, so it does not change when a lease is extended. The first three also serve lists of every status:
# MongoDB merges one range of the index for each.
INDEXES = [
    IndexModel([(STATUS, 1), *NEWEST_FIRST]),  # tasks(orderBy: CREATED_AT), retention, counts by status
    IndexModel([(STATUS, 1), (UPDATED_AT, -1), (ID, -1)]),  # tasks(orderBy: UPDATED_AT), by status or not
    IndexModel(
        [(STATUS, 1), (FINISHED_AT, -1), (ID, -1)], partialFilterExpression={FINISHED_AT: {"$exists": True}}
    ),  # tasks(orderBy: FINISHED_AT), by status or not
    IndexModel([(f"{METADATA}.$**", 1)]),  # tasks(filter: {metadata}): conditions on a path
    IndexModel([(PARENT_ID, 1), *NEWEST_FIRST]),  # Task.children(first, after)
    IndexModel(
        [(STATUS, 1), (DUE_AT, 1)], partialFilterExpression={DUE_AT: {"$exists": True}}
    ),  # recovery: tasks that are due
    IndexModel(
        WAITING_KEYS, partialFilterExpression={STATUS: Status.QUEUED.value, DUE_AT: {"$exists": True}}
    ),  # recovery: the head of each queue, and the tasks whose messages it has lost
    IndexModel(
        [(STATUS, 1), (EXPIRES_AT, 1)], partialFilterExpression={EXPIRES_AT: {"$exists": True}}
    ),  # recovery: tasks that expire
    IndexModel(
        [(STATUS, 1), (WAITS_FOR, 1)], partialFilterExpression={WAITS_FOR: {"$exists": True}}
    ),  # recovery: later steps that nothing sends
    IndexModel(
        [(STATUS, 1), (ERROR_TYPE, 1), *NEWEST_FIRST], partialFilterExpression={ERROR_TYPE: {"$exists": True}}
    ),  # tasks(filter: {errorTypes}), facet(by: ERROR_TYPE); only tasks with an error are in it
    IndexModel(
        [(TENANT, 1), (OWNER, 1), *NEWEST_FIRST], partialFilterExpression={OWNER: {"$exists": True}}
    ),  # every read of a principal that sees the tasks of one owner
    IndexModel(
        [(TENANT, 1), *NEWEST_FIRST], partialFilterExpression={TENANT: {"$exists": True}}
    ),  # every read of the administrator of a tenant
]

# The fields that a too large event leaves out, in this order, until it fits.
OMITTABLE = (RESULT, ARGS, KWARGS, ERROR, METADATA, PROGRESS)
# The fields that every event has and few readers need: BSON within the event's BSON, decoded at the first access.
LAZY = (ARGS, KWARGS, METADATA, METADATA_BEFORE, HISTORY, CHILDREN)
# The fields that clients do not see; events leave them out.
PRIVATE = (
    MESSAGE_PARTS, CLAIM, WORKER_RUN, PID, TAKEN_BY, INPUT_DIGEST, METADATA_TOKENS, LOGGED, CHORD_RESULT,
    REPLAYED, REJECTIONS, LOST_WORKERS, SENDER_TOKEN, CHORD_ID, UNSENT, SET_ASIDE, WAITS_FOR, HIDDEN,
    WAITS_KIND, KEY_SPACE, CANCEL_ACTOR, METADATA_PAST,
)  # fmt: skip
