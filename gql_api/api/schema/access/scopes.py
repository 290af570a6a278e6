"""The scopes as clients see them."""

from __future__ import annotations

from gql_api.access.principal import Scope
from gql_api.api.schema.scalars import expose_enum

__all__ = ["Scope"]

expose_enum(
    Scope,
    {
        Scope.TASKS_READ: "Read and watch tasks, with their results and logs.",
        Scope.TASKS_CREATE: "Create tasks, and repeat existing ones.",
        Scope.TASKS_CONTROL: "Cancel, reschedule, change and delete tasks.",
        Scope.SCHEDULES_WRITE: "Reserved for schedules, which this version does not have.",
        Scope.OPERATE: "See workers, queues, task functions, tracebacks and metrics.",
        Scope.ADMIN: "See the tasks of all owners and the audit log, and administer API tokens.",
    },
    description="A kind of operations that a caller may use. Which tasks it sees is another question: its own, and "
    "with ADMIN those of all owners.",
)
