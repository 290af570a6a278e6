"""The filters of live lists, and the changes of tasks that are compared with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

from gql_api.access.lasting import lasting_part
from gql_api.access.visibility import Visibility
from gql_api.events import Deletion
from gql_api.query.compile import compile_filter
from gql_api.query.equalities import Equality, required
from gql_api.query.filter import TaskFilter
from gql_api.record.model import Version
from gql_api.record.past.former_states import state_before, states_since
from gql_api.record.reads import Document, TaskRecord

Predicate = Callable[[TaskRecord], bool]
"""A filter in memory; raises :class:`LookupError` when the result depends on fields that a record does not have."""


def judged(predicate: Predicate, record: TaskRecord) -> bool | None:
    """Return the result of a predicate; None if it depends on fields that the record does not have."""
    try:
        return predicate(record)
    except LookupError:
        return None


@dataclass(frozen=True)
class RecordChange:
    """A change of a task, as lists receive it.

    Attributes:
        record: the task after the change.
        former: the states that it may have been in since the lists received it last; None if nothing is known of them.
        is_sudden: whether changes before this one were missed.
        was_received: whether the lists received the first of the former states.
    """

    record: TaskRecord
    former: Sequence[TaskRecord] | None = ()
    is_sudden: bool = False
    was_received: bool = False

    @classmethod
    def next(cls, record: TaskRecord) -> Self:
        """Create a change of which the one before was received, if there was one."""
        try:
            before = state_before(record)
        except LookupError:
            return cls(record, None)
        return cls(record, () if before is None else (before,))

    @classmethod
    def after(cls, record: TaskRecord, last: Version, *, was_received: bool = True) -> Self:
        """Create a change before which others were missed. ``last`` is the version that was received last."""
        try:
            former = tuple(states_since(record, last.revision, last.updated_at))
        except LookupError:
            former = None
        return cls(record, former, is_sudden=True, was_received=was_received)

    @cached_property
    def former_with_other_metadata(self) -> Sequence[TaskRecord]:
        """The former states whose metadata are not the present ones, or are not known."""
        return [state for state in self.former or () if not self._has_metadata_of(state)]

    def was_visible(self, visibility: Visibility) -> bool | None:
        """Return whether the task was visible before the change; None if that is not known."""
        try:
            if (before := self._before()) is not None and visibility.sees(before):
                return True
        except LookupError:
            return None
        if not self.is_sudden:
            return False
        if self.former is None:
            return None
        former = {judged(visibility.sees, state) for state in self.former}
        if True in former:
            return True if self.was_received else None  # or that may have been before the watch began
        return None if None in former else False

    def _has_metadata_of(self, state: TaskRecord) -> bool:
        try:
            return state.stored_metadata is self.record.stored_metadata
        except LookupError:
            return False

    def _before(self) -> TaskRecord | None:
        is_known = self.former is not None and not self.is_sudden
        return next(iter(self.former or ()), None) if is_known else state_before(self.record)


class Verdict(NamedTuple):
    """The meaning of a change for the lists of one filter.

    Attributes:
        matches: whether the task is visible and matches the filter; None if that is not known.
        is_visible: whether it is visible; None if that is not known.
        was_visible: the same before the change.
        may_have_matched: whether it may have matched since the lists received it last; False only when that is certain.
    """

    matches: bool | None
    is_visible: bool | None
    was_visible: bool | None
    may_have_matched: bool


class ListFilter:
    """The filter of live lists and the visibility of their watchers, equal for lists that show the same tasks.

    Attributes:
        visibility: the tasks that there are for the watchers.
        matches: the filter, for records in memory.
        query: the filter, for MongoDB.
        lasting: the conditions that a task meets, or does not, as long as it exists.

    Raises:
        InvalidValueError: the filter exceeds a limit, or has an invalid path or value.
    """

    def __init__(self, visibility: Visibility, filter_: TaskFilter) -> None:
        compiled = compile_filter(filter_)
        self.visibility = visibility
        self.matches: Predicate = compiled.matches
        self.query: Document = compiled.query
        self.lasting = compile_filter(lasting_part(filter_))
        self._filter = filter_
        self._reads_metadata_only = _reads_metadata_only(filter_)
        self._key = (visibility.key, json.dumps(self.query, sort_keys=True, default=repr))
        self._hash = hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ListFilter) and self._key == other._key

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"<ListFilter {self._key}>"

    @property
    def shows_everything(self) -> bool:
        """True if every task is in the list."""
        return not self.query and self.visibility.sees_everything

    @property
    def required(self) -> list[Equality]:
        """The equalities of which a task has to meet each to be in the list."""
        return [*required(self.visibility.filter), *required(self._filter)]

    def judge(self, change: RecordChange, *, is_held: bool, was_seen: bool = False) -> Verdict | None:
        """Return the meaning of a change; None if it has none: no list has the task, or it was never visible.

        Args:
            change: the change.
            is_held: whether lists have a state of the task that MongoDB may have lost, so that its past has not got it.
            was_seen: whether the task was certainly visible in that state.
        """
        visibility, record = self.visibility, change.record
        if visibility.sees_everything:
            is_visible: bool | None = True
        elif judged(visibility.lasting.sees, record) is False:
            return None
        else:
            is_visible = judged(visibility.sees, record)
        matches = False if is_visible is False else judged(self.matches, record)
        # A result that is the visibility's says nothing of the filter.
        is_refused = matches is False and is_visible is not False
        may_have_matched = matches is True or is_held or self._may_have_matched(change, is_refused=is_refused)
        if matches is False and not may_have_matched:
            return None
        was_visible = is_visible or was_seen or change.was_visible(visibility)
        return Verdict(matches, is_visible, was_visible, may_have_matched)

    def may_have_matched(self, former: Iterable[TaskRecord]) -> bool:
        """Return whether a task may have matched in one of its former states; False only when that is certain."""
        return any(judged(self.matches, state) is not False for state in former)

    def matched_last(self, deletion: Deletion, *, is_sudden: bool) -> bool:
        """Return whether a deleted task may have matched; ``is_sudden`` as in :class:`RecordChange`."""
        if deletion.last is not None and judged(self.lasting.matches, deletion.last) is False:
            return False
        return is_sudden or deletion.record is None or judged(self.matches, deletion.record) is not False

    def _may_have_matched(self, change: RecordChange, *, is_refused: bool) -> bool:
        if change.former is None:
            return judged(self.lasting.matches, change.record) is not False
        has_same_result = is_refused and self._reads_metadata_only
        return self.may_have_matched(change.former_with_other_metadata if has_same_result else change.former)


def _reads_metadata_only(filter_: TaskFilter) -> bool:
    """Return whether a filter has the same result for all states in which a task has the same metadata."""
    times = (filter_.finished_at, filter_.updated_at)
    changing = (filter_.statuses, filter_.queues, filter_.error_types, filter_.parent_id, *times)
    within = [*filter_.all_of, *(filter_.any_of or ()), *([] if filter_.none_of is None else [filter_.none_of])]
    return all(each is None for each in changing) and all(map(_reads_metadata_only, within))
