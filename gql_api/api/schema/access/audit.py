"""The audit log as administrators read it."""

from __future__ import annotations

from datetime import datetime
from typing import Self

import strawberry
from strawberry import UNSET

from gql_api.api.context import Info
from gql_api.api.errors import BAD_INPUT, FORBIDDEN, ClientError
from gql_api.api.schema.filters import DateTimeRange
from gql_api.api.schema.pagination import AuditCursor, CursorError, checked_size
from gql_api.api.schema.scalars import expose_enum, or_default
from gql_api.api.schema.types import PageInfo
from gql_api.record.audit.entries import AuditOutcome, AuditQuery, StoredEntry

expose_enum(
    AuditOutcome,
    {
        AuditOutcome.STARTED: "A bulk call has begun. Its other entry, with the same callId, says how it ended; "
        "without one the process died, and tasks may have been changed.",
        AuditOutcome.SUCCEEDED: "The call did what it was asked to, or nothing was to be done.",
        AuditOutcome.REFUSED: "The call changed nothing, for the reasons in codes.",
        AuditOutcome.FAILED: "The call ended with an error, or its client left before its end: nothing, a part or all "
        "may have been changed.",
    },
    description="How a call of a mutation ended.",
)


@strawberry.type(description="A call of a mutation by a principal.")
class AuditEntry:
    """An entry of the audit log."""

    id: strawberry.ID = strawberry.field(description="Unique among all entries of the log.")
    at: datetime = strawberry.field(description="When the entry was stored, by the clock of the database.")
    call_id: str = strawberry.field(description="The same in both entries of a bulk call.")
    operation: str = strawberry.field(description="The name of the mutation's field, like cancelTask.")
    outcome: AuditOutcome = strawberry.field(description="How the call ended.")
    codes: list[str] = strawberry.field(description="The codes of its errors, of userErrors too; empty on success.")
    subject: str | None = strawberry.field(description="The subject of the caller's token.")
    tenant: str | None = strawberry.field(description="The caller's tenant; null without tenants.")
    token_id: str | None = strawberry.field(description="The id of the caller's token; null for a token without one.")
    address: str | None = strawberry.field(
        description="The IP address of the client, or of the last proxy that the server does not trust."
    )
    task_ids: list[strawberry.ID] = strawberry.field(
        description="The tasks that the call named or created, at most 100. A bulk call has counts instead."
    )
    target: str | None = strawberry.field(description="What else the call named, like the id of a token.")
    filter: str | None = strawberry.field(
        description='The filter of a bulk call, as JSON text; longer than 4,000 characters it is cut and ends in "…".'
    )
    dry_run: bool | None = strawberry.field(description="Whether a bulk call only counted; null for other calls.")
    matched: int | None = strawberry.field(description="How many tasks a bulk call matched; null for other calls.")
    changed: int | None = strawberry.field(
        description="How many tasks the call changed or deleted, without the descendants that cancelTask cancels too."
    )
    created: int | None = strawberry.field(description="How many tasks the call created; null if it never creates any.")

    @classmethod
    def of(cls, stored: StoredEntry) -> Self:
        """Convert an entry."""
        entry = stored.entry
        return cls(
            id=strawberry.ID(stored.id),
            at=stored.at,
            call_id=entry.call_id,
            operation=entry.operation,
            outcome=entry.outcome,
            codes=list(entry.codes),
            subject=entry.subject,
            tenant=entry.tenant,
            token_id=entry.token_id,
            address=entry.address,
            task_ids=[strawberry.ID(task_id) for task_id in entry.task_ids],
            target=entry.target,
            filter=entry.filter,
            dry_run=entry.dry_run,
            matched=entry.matched,
            changed=entry.changed,
            created=entry.created,
        )


@strawberry.type(description="An entry with its cursor, as Relay expects it.")
class AuditLogEdge:
    """Relay's edge."""

    cursor: str = strawberry.field(description="The position of the entry, to pass as after.")
    node: AuditEntry = strawberry.field(description="The entry itself.")


@strawberry.type(description="A page of the audit log, newest entry first.")
class AuditLogConnection:
    """Relay's connection, with the nodes also without their edges."""

    edges: list[AuditLogEdge] = strawberry.field(description="The entries of the page, each with its cursor.")
    nodes: list[AuditEntry] = strawberry.field(description="The entries of the page, without edges around them.")
    page_info: PageInfo = strawberry.field(description="Cursors to continue from, and whether there are more entries.")


@strawberry.input(
    description="Which entries to find. All fields that are given must match; a field that is left out or null is no "
    "condition."
)
class AuditLogFilter:
    """The conditions on an entry."""

    subjects: list[str] | None = strawberry.field(default=UNSET, description="The caller is one of these subjects.")
    operations: list[str] | None = strawberry.field(
        default=UNSET, description="The mutation is one of these, like cancelTask."
    )
    token_ids: list[str] | None = strawberry.field(default=UNSET, description="The token has one of these ids.")
    outcomes: list[AuditOutcome] | None = strawberry.field(default=UNSET, description="The call ended like this.")
    task_id: strawberry.ID | None = strawberry.field(
        default=UNSET,
        description="The call named or created this task. The calls of bulk mutations do not name tasks: see the "
        "history of the task for their actors.",
    )
    at: DateTimeRange | None = strawberry.field(default=UNSET, description="The entry was stored within this range.")

    def query(self, tenant: str | None) -> AuditQuery:
        """Convert the input, for an administrator of a tenant, or of everything."""
        times = or_default(self.at, DateTimeRange()).time_range()
        return AuditQuery(
            tenant=tenant,
            subjects=or_default(self.subjects, None),
            operations=or_default(self.operations, None),
            token_ids=or_default(self.token_ids, None),
            outcomes=or_default(self.outcomes, None),
            task_id=or_default(self.task_id, None),
            since=times.gte,
            before=times.lt,
        )


async def audit_log_page(info: Info, first: int, after: str | None, filter_: AuditLogFilter) -> AuditLogConnection:
    """Read a page of the audit log, of the caller's tenant if it has one.

    Raises:
        ClientError: the size or the cursor is invalid, or the caller's token has a filter.
    """
    principal = info.context.principal
    if principal.filter is not None:
        raise ClientError("auditLog: a token with a filter cannot read the audit log", FORBIDDEN)
    size = checked_size("first", first)
    position = None if after is None else _position(after)
    # One more entry shows whether there is a next page.
    found = await info.context.services.audit.page(filter_.query(principal.tenant), position, size + 1)
    nodes = [AuditEntry.of(each) for each in found[:size]]
    edges = [
        AuditLogEdge(cursor=str(AuditCursor(each.at, each.id)), node=node)
        for each, node in zip(found[:size], nodes, strict=True)
    ]
    return AuditLogConnection(
        edges=edges,
        nodes=nodes,
        page_info=PageInfo(
            has_next_page=len(found) > size,
            has_previous_page=after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        ),
    )


def _position(cursor: str) -> tuple[datetime, str]:
    try:
        parsed = AuditCursor.parse(cursor)
    except CursorError as error:
        raise ClientError(f"after: {error}", BAD_INPUT) from error
    return parsed.at, parsed.entry_id
