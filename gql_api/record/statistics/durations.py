"""The times that an ended task took, as MongoDB's expressions over its record.

Both are of the last attempt, and only of a task that ended while it ran: a task that was revoked while it waited for a
retry did not run from the start of its last attempt to its end. A clock that goes back makes them zero, not negative.
"""

from __future__ import annotations

from typing import Any

from gql_api.record import fields as f
from gql_api.record.fields import Status

# In the projection of a task that is to be deleted, and in its tombstone: its end, as statistics count it.
ENDED = "ended"
QUEUED_MS = "queued_ms"
RAN_MS = "ran_ms"

_ENTRIES = {"$cond": [{"$isArray": f"${f.HISTORY}"}, f"${f.HISTORY}", []]}
_IS_WAITING = {"$in": [f"$$this.{f.STATUS}", [Status.QUEUED, Status.RETRY]]}
# The last entry is that of the end: nothing follows it.
_BEFORE_END = {"$getField": {"field": f.STATUS, "input": {"$arrayElemAt": [_ENTRIES, -2]}}}
_READY = {"$last": {"$filter": {"input": _ENTRIES, "cond": _IS_WAITING}}}
_READY_AT = {"$getField": {"field": f.AT, "input": _READY}}

ENDED_WHILE_RUNNING = {"$eq": [_BEFORE_END, Status.STARTED]}
"""Whether a task ended while it ran."""


def _between(begin: Any, end: Any) -> dict[str, Any]:
    """Return the expression for the milliseconds between two times; null unless both are times."""
    are_times = {"$and": [{"$eq": [{"$type": time}, "date"]} for time in ("$$begin", "$$end")]}
    elapsed = {"$max": [0, {"$subtract": ["$$end", "$$begin"]}]}
    return {"$let": {"vars": {"begin": begin, "end": end}, "in": {"$cond": [are_times, elapsed, None]}}}


QUEUED = {"$cond": [ENDED_WHILE_RUNNING, _between(_READY_AT, f"${f.STARTED_AT}"), None]}
"""The milliseconds from the moment at which the task could run to the start of its last attempt."""
RAN = {"$cond": [ENDED_WHILE_RUNNING, _between(f"${f.STARTED_AT}", f"${f.FINISHED_AT}"), None]}
"""The milliseconds from that start to the end."""
END = {f.STATUS: f"${f.STATUS}", f.AT: f"${f.FINISHED_AT}", QUEUED_MS: QUEUED, RAN_MS: RAN}
"""The end of a task, to be kept when the task is deleted."""
