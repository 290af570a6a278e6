"""The principal of a call: its subject, its scopes, its visibility, and until when it is valid."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple

from gql_api.access.visibility import Visibility, visibility_in, visibility_of
from gql_api.query.filter import TaskFilter


class Scope(StrEnum):
    """A kind of operations that a principal may use. Scopes say which operations, the visibility says which tasks."""

    TASKS_READ = "TASKS_READ"
    TASKS_CREATE = "TASKS_CREATE"
    TASKS_CONTROL = "TASKS_CONTROL"
    SCHEDULES_WRITE = "SCHEDULES_WRITE"
    OPERATE = "OPERATE"
    ADMIN = "ADMIN"


ALL_SCOPES = frozenset(Scope)


@dataclass(frozen=True)
class Restrictions:
    """The limits of a token for the tasks that it creates. None allows all.

    Attributes:
        names: the names of the tasks that it may create.
        queues: the queues into which it may create them.
        min_priority: the most urgent priority that it may give them; Celery runs 0 first.
        max_time_limit_seconds: the longest time limit that it may give them, and that of tasks without one.
        metadata: what is merged into their metadata, and what the token cannot change.
    """

    names: frozenset[str] | None = None
    queues: frozenset[str] | None = None
    min_priority: int | None = None
    max_time_limit_seconds: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


UNRESTRICTED = Restrictions()


class Audience(NamedTuple):
    """The properties of principals on which answers depend: those of one audience get the same answers."""

    visibility: Visibility
    scopes: frozenset[Scope]


@dataclass(frozen=True)
class Principal:
    """A caller of the API.

    Attributes:
        subject: who it is; the owner of the tasks that it creates. None without authentication.
        tenant: the tenant of the subject, if there are tenants.
        scopes: which operations it may use.
        filter: its token's filter, which narrows what it sees; None for no filter.
        restrictions: what its token allows of the tasks that it creates.
        expires_at: when its token expires; None for never.
        token_id: the id of its token, if that can be revoked or is to be in the audit log.
    """

    subject: str | None
    scopes: frozenset[Scope]
    tenant: str | None = None
    filter: TaskFilter | None = None
    restrictions: Restrictions = UNRESTRICTED
    expires_at: datetime | None = None
    token_id: str | None = None

    @cached_property
    def visibility(self) -> Visibility:
        """The tasks that it may see: its own, or all of its tenant for an administrator, narrowed by its token."""
        is_admin = Scope.ADMIN in self.scopes
        all_ = visibility_in(self.tenant) if is_admin else visibility_of(self.subject, self.tenant)
        return all_ if self.filter is None else all_.and_also(self.filter)

    @cached_property
    def audience(self) -> Audience:
        """The audience to which it belongs."""
        return Audience(self.visibility, self.scopes)

    @cached_property
    def key_space(self) -> str | None:
        """The space of the principal's idempotency keys: a key reveals nothing about tasks that are not visible.

        None without authentication. An administrator has a space of its own too: the keys of owners are theirs.
        """
        if self.subject is None:
            return None
        own = visibility_of(self.subject, self.tenant)
        visible = own if self.filter is None else own.and_also(self.filter)
        return hashlib.sha256(visible.key.encode()).hexdigest()[:32]

    def has(self, scope: Scope) -> bool:
        """Return whether it may use the operations of a scope."""
        return scope in self.scopes


ANONYMOUS = Principal(None, ALL_SCOPES)
"""Every caller of an API without authentication: it may use all operations and see all tasks."""

NOBODY = Principal(None, frozenset())
"""A caller without a token, of a page that has no data: it may use no operation and see no task."""
