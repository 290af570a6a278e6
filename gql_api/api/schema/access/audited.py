"""An entry in the audit log for each mutation that a principal calls."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

import strawberry
from graphql import GraphQLError
from strawberry.extensions import FieldExtension
from strawberry.types.field import StrawberryField
from strawberry.utils.str_converters import to_camel_case

from gql_api.access.principal import ANONYMOUS
from gql_api.api.context import Info
from gql_api.api.errors import INTERNAL, OVERLOADED, UNAVAILABLE, NoSlotError
from gql_api.api.execution.encoding import encode, write_time
from gql_api.api.schema.payloads import (
    BulkTaskPayload,
    CreateTaskPayload,
    CreateTasksPayload,
    DeleteTaskPayload,
    TaskPayload,
)
from gql_api.outage import is_outage
from gql_api.record.audit.entries import AuditEntry, AuditOutcome

T = TypeVar("T")

_ABOUT_TASKS = (CreateTaskPayload, CreateTasksPayload, TaskPayload, DeleteTaskPayload, BulkTaskPayload)

INTERRUPTED = "INTERRUPTED"
"""The code of a call whose client left before it ended."""


def audited(mutations: type[T]) -> type[T]:
    """Decorate the root type of mutations: each call of each of its fields by a principal is recorded."""
    definition: Any = vars(mutations)["__strawberry_definition__"]
    for each in definition.fields:
        each.extensions.append(_Audited())
    return mutations


class _Audited(FieldExtension):
    """A Strawberry extension that records the calls of a field, after the change and before the answer.

    A bulk call that changes tasks has an entry from its beginning too: its process may die before its end.
    """

    _is_about_tasks = False

    def apply(self, field: StrawberryField) -> None:
        """Note whether the argument ``id`` of the field is that of a task."""
        self._is_about_tasks = field.type in _ABOUT_TASKS

    async def resolve_async(
        self, next_: Callable[..., Awaitable[Any]], source: Any, info: Info, **arguments: Any
    ) -> Any:
        """Call the field."""
        context = info.context
        if context.principal is ANONYMOUS:
            return await next_(source, info, **arguments)
        entry = _call(info, arguments, is_about_tasks=self._is_about_tasks)
        if entry.dry_run is False:
            await context.services.audit.record(entry)
        try:
            payload = await next_(source, info, **arguments)
        except (Exception, asyncio.CancelledError) as error:
            failed = replace(entry, outcome=AuditOutcome.FAILED, codes=(_code_of(error),))
            await context.services.audit.record(failed)
            raise
        await context.services.audit.record(_ended(entry, payload))
        return payload


def _call(info: Info, arguments: dict[str, Any], *, is_about_tasks: bool) -> AuditEntry:
    principal = info.context.principal
    client = None if info.context.request is None else info.context.request.client
    filter_ = arguments.get("filter")
    dry_run = arguments.get("dry_run", True) is not False
    named = [arguments["id"]] if "id" in arguments else []
    return AuditEntry(
        operation=info.field_name,
        outcome=AuditOutcome.STARTED,
        call_id=uuid.uuid4().hex,
        subject=principal.subject,
        tenant=principal.tenant,
        token_id=principal.token_id,
        address=None if client is None else client.host,
        task_ids=named if is_about_tasks else [],
        target=None if is_about_tasks or not named else named[0],
        filter=None if filter_ is None else encode(_as_given(filter_)).decode(),
        dry_run=None if filter_ is None else dry_run,
    )


@dataclass(frozen=True)
class _Effect:
    """The tasks that a payload has, with what has happened to them."""

    task_ids: Sequence[str] = ()
    matched: int | None = None
    changed: int | None = None
    created: int | None = None
    codes: list[str] = field(default_factory=list)


def _ended(entry: AuditEntry, payload: Any) -> AuditEntry:
    effect = _effect(payload)
    codes = tuple(dict.fromkeys([*_codes(payload), *effect.codes]))
    is_refused = codes and not effect.changed and not effect.created
    return replace(
        entry,
        outcome=AuditOutcome.REFUSED if is_refused else AuditOutcome.SUCCEEDED,
        task_ids=list(dict.fromkeys([*entry.task_ids, *effect.task_ids])),
        target=entry.target or getattr(payload, "audit_target", None),
        codes=codes,
        matched=effect.matched,
        changed=effect.changed,
        created=effect.created,
    )


def _effect(payload: Any) -> _Effect:
    """Return what a payload reports of tasks."""
    if isinstance(payload, CreateTaskPayload):
        return _Effect(_ids([payload]), created=int(payload.created))
    if isinstance(payload, CreateTasksPayload):
        codes = [code for each in payload.results for code in _codes(each)]
        return _Effect(_ids(payload.results), created=sum(each.created for each in payload.results), codes=codes)
    if isinstance(payload, TaskPayload | DeleteTaskPayload):
        return _Effect(changed=0 if payload.user_errors else 1)
    if isinstance(payload, BulkTaskPayload):
        return _Effect(matched=payload.matched, changed=payload.changed)
    return _Effect()


def _ids(payloads: Iterable[CreateTaskPayload]) -> list[str]:
    return [each.task.record.id for each in payloads if each.task is not None]


def _codes(payload: Any) -> list[str]:
    return [str(getattr(each.code, "value", each.code)) for each in getattr(payload, "user_errors", ())]


def _code_of(error: BaseException) -> str:
    """Return the code that the client receives, as the masking of errors decides it."""
    if isinstance(error, asyncio.CancelledError):
        return INTERRUPTED
    if isinstance(error, GraphQLError):
        return str((error.extensions or {}).get("code", INTERNAL))
    if isinstance(error, NoSlotError):
        return OVERLOADED
    return UNAVAILABLE if is_outage(error) else INTERNAL


def _as_given(value: Any) -> Any:
    """Return the value of an argument as its client wrote it, in JSON."""
    definition = getattr(type(value), "__strawberry_definition__", None)
    if definition is not None and not isinstance(value, Enum):
        given = {each: getattr(value, each.python_name) for each in definition.fields}
        return {
            each.graphql_name or to_camel_case(each.python_name): _as_given(inner)
            for each, inner in given.items()
            if inner is not strawberry.UNSET
        }
    if isinstance(value, list):
        return [_as_given(each) for each in value]
    if isinstance(value, datetime):
        return write_time(value)
    return value.name if isinstance(value, Enum) else value
