"""The conditions of a filter that no change of a task affects: its id, name, owner, tenant and time of creation."""

from __future__ import annotations

from dataclasses import replace

from gql_api.query.filter import TaskFilter


def lasting_part(filter_: TaskFilter) -> TaskFilter:
    """Return the filter of those conditions that a task meets, or does not, as long as it exists.

    All tasks that the filter matches, at any time of their lives, match it too.
    """
    return TaskFilter(
        ids=filter_.ids,
        names=filter_.names,
        created_at=filter_.created_at,
        owners=filter_.owners,
        tenants=filter_.tenants,
        all_of=[lasting_part(each) for each in filter_.all_of],
        any_of=filter_.any_of if all(map(_is_lasting, filter_.any_of or ())) else None,
        none_of=filter_.none_of if filter_.none_of is not None and _is_lasting(filter_.none_of) else None,
    )


def _is_lasting(filter_: TaskFilter) -> bool:
    own = replace(filter_, all_of=(), any_of=None, none_of=None)
    within = [*filter_.all_of, *(filter_.any_of or ()), *([] if filter_.none_of is None else [filter_.none_of])]
    return own == replace(lasting_part(own), all_of=()) and all(map(_is_lasting, within))
