"""Which tasks a principal may see: one filter, which holds for MongoDB and for events in memory alike."""

from __future__ import annotations

import json
from functools import cached_property, lru_cache

from gql_api.access.lasting import lasting_part
from gql_api.query.compile import CompiledFilter, compile_filter
from gql_api.query.filter import TaskFilter
from gql_api.record.reads import Document, TaskRecord


class Visibility:
    """The tasks that a principal may see. Two visibilities are equal if their filters find the same tasks for certain.

    Every read and every write of tasks requires one: what a principal may not see does not exist for it.
    """

    def __init__(self, filter_: TaskFilter) -> None:
        self.filter = filter_

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Visibility) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"<Visibility {self.key or 'of everything'}>"

    @cached_property
    def key(self) -> str:
        """A text that only equal visibilities have; empty if everything is visible."""
        return json.dumps(self.query, sort_keys=True, default=repr) if self.query else ""

    @property
    def query(self) -> Document:
        """The query of the visible tasks; empty if everything is visible."""
        return self._compiled.query

    @property
    def sees_everything(self) -> bool:
        """True if no task is hidden."""
        return not self.query

    def narrowed(self, query: Document) -> Document:
        """Return the query of the visible tasks that another query finds."""
        return {"$and": [query, self.query]} if self.query else query

    def sees(self, record: TaskRecord) -> bool:
        """Return whether a task is visible.

        Raises:
            LookupError: that depends on a field that the record does not know.
        """
        return not self.query or self._compiled.matches(record)

    def and_also(self, filter_: TaskFilter) -> Visibility:
        """Return the visibility of those of the visible tasks that a filter matches."""
        return Visibility(TaskFilter(all_of=[self.filter, filter_]))

    @cached_property
    def lasting(self) -> Visibility:
        """The tasks that are visible at some time of their lives, as far as that depends on what never changes."""
        return Visibility(lasting_part(self.filter))

    @cached_property
    def is_lasting(self) -> bool:
        """True if a visible task stays visible, whatever changes."""
        return self.lasting == self

    def certainly_sees(self, record: TaskRecord | None) -> bool:
        """Return whether a task is visible; False if that depends on what is not known, like all of a task's fields."""
        try:
            return self.sees_everything or (record is not None and self.sees(record))
        except LookupError:
            return False

    @cached_property
    def _compiled(self) -> CompiledFilter:
        return compile_filter(self.filter)


EVERYTHING = Visibility(TaskFilter())
"""The visibility of administrators, and of code that reads for no principal: what it finds must not reach a client."""


@lru_cache(4096)
def visibility_of(owner: str | None, tenant: str | None) -> Visibility:
    """Return the visibility of the owner of tasks. A task without an owner is visible to administrators only."""
    owners = [] if owner is None else [owner]
    return Visibility(TaskFilter(owners=owners, tenants=[tenant]))


@lru_cache(4096)
def visibility_in(tenant: str | None) -> Visibility:
    """Return the visibility of an administrator: all tasks of its tenant, or all tasks."""
    return EVERYTHING if tenant is None else Visibility(TaskFilter(tenants=[tenant]))
