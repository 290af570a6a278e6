"""The queries."""

from __future__ import annotations

import strawberry
from strawberry import UNSET

from gql_api.context import Info
from gql_api.cursors import Cursor, CursorError
from gql_api.errors import ClientError
from gql_api.scalars import given
from gql_api.types import Node, PageInfo, Task, TaskConnection, TaskDefinition, TaskEdge

_MOST = 500
_DEFAULT = 20
_BAD_INPUT = "BAD_USER_INPUT"


@strawberry.type
class Query:
    """Read tasks, and what tasks there can be."""

    @strawberry.field(description="The object with this id; null when there is none.")
    async def node(self, info: Info, id: strawberry.ID) -> Node | None:  # noqa: A002 - the schema's name
        """Find a task by its id."""
        return await _task(info, id)

    @strawberry.field(description="The task with this id; null when there is none.")
    async def task(self, info: Info, id: strawberry.ID) -> Task | None:  # noqa: A002 - the schema's name
        """Find a task by its id."""
        return await _task(info, id)

    @strawberry.field(description="All tasks, newest first.")
    async def tasks(self, info: Info, first: int | None = UNSET, after: str | None = UNSET) -> TaskConnection:
        """Read a page of tasks."""
        first, after = given(first, _DEFAULT), given(after, None)
        if not 1 <= first <= _MOST:
            raise ClientError(f"first must be from 1 to {_MOST}, not {first}", _BAD_INPUT)
        return await _page(info, first, _cursor(after))

    @strawberry.field(description="The tasks that workers have announced, by name.")
    async def task_definitions(self, info: Info) -> list[TaskDefinition]:
        """Read what can be created."""
        return [TaskDefinition.of(definition) for definition in await info.context.services.store.definitions()]


async def _task(info: Info, task_id: str) -> Task | None:
    record = await info.context.services.store.get(task_id)
    return None if record is None else Task.of(record)


async def _page(info: Info, first: int, after: Cursor | None) -> TaskConnection:
    # One more than asked for tells whether there is a next page.
    records = await info.context.services.store.newest(first + 1, after)
    edges = [TaskEdge(cursor=str(Cursor.of(record)), node=Task.of(record)) for record in records[:first]]
    return TaskConnection(
        edges=edges,
        nodes=[edge.node for edge in edges],
        page_info=PageInfo(
            has_next_page=len(records) > first,
            has_previous_page=after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        ),
    )


def _cursor(text: str | None) -> Cursor | None:
    try:
        return None if text is None else Cursor.parse(text)
    except CursorError as error:
        raise ClientError(f"after: {error}", _BAD_INPUT) from error
