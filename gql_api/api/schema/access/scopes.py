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
        Scope.OPERATE: "Read workers, queues, task functions, tracebacks and metrics.",
        Scope.ADMIN: "Read the audit log, make and revoke API tokens, and see the tasks of all owners of the caller's "
        "tenant, or of all tenants if it has none. The other scopes decide what it may do with these tasks.",
    },
    description="A kind of operations that a caller may use. No scope includes another one. A caller sees its own "
    "tasks; only ADMIN adds those of other owners.",
)
