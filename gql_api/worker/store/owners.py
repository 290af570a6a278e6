"""The owners of new records: from the program that sends a task, from its message, or from the task it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from celery.exceptions import Reject

from gql_api.access.owner_signature import HEADER, NOBODY, Owner, OwnerError, OwnerKeys
from gql_api.worker.state.attempt import AttemptState
from gql_api.worker.state.owners import followed_id, named_owner, running

if TYPE_CHECKING:
    from gql_api.worker.store.tasks import Store


class Owners:
    """The owners of the tasks that a process sends or receives.

    Args:
        store: has the records of parents.
        secret: verifies the owners in messages; empty if this process cannot do that.
        retry: waits out outages in a worker.
    """

    def __init__(self, store: Store, secret: str, retry: Callable[[Callable[[], Owner]], Owner]) -> None:
        self._store = store
        self._keys = OwnerKeys(secret)
        self._retry = retry

    def of_sender(self, parent_id: str | None) -> Owner:
        """Return the owner of a task that this process sends.

        A running task knows its own. MongoDB is asked only for a parent that does not run here.
        """
        named = named_owner()
        if named is not None:
            return named
        current = running()
        if current is None:
            return self._of_record(parent_id or followed_id())
        request, attempt = current
        if attempt.claim is not None:
            return Owner(attempt.claim.record.owner, attempt.claim.record.tenant)
        return self._of_unrecorded(request, attempt)

    def of_message(self, headers: Mapping[str, Any], parent_id: str | None) -> Owner:
        """Return the owner of a task that this process sends, whose headers may name one.

        Raises:
            OwnerError: the header is not valid.
        """
        named = self._in_header(headers)
        return self.of_sender(parent_id) if named is None else named

    def of_arrival(self, request: Any, parent_id: str | None) -> Owner:
        """Return the owner of a task whose message came without a record; ``request`` may be None.

        Raises:
            Reject: the message names an owner that is not valid.
        """
        try:
            return self.of_message({} if request is None else vars(request), parent_id)
        except OwnerError as error:
            raise Reject(f"{HEADER}: {error}", requeue=False) from error

    def refusal(self, headers: Mapping[str, Any]) -> str | None:
        """Return why the owner in a received message is invalid; None for a valid owner, and without one."""
        try:
            self._in_header(headers)
        except OwnerError as error:
            return f"{HEADER}: {error}"
        return None

    def headers_without_record(self, headers: Mapping[str, Any]) -> dict[str, str]:
        """Return the header for a task without a record, unless its parent's record has the owner."""
        owner = named_owner()
        current = running()
        if owner is None and current is not None:
            owner = self._in_header(vars(current[0])) if current[1].is_unrecorded else None
        if owner is None or not self._keys or (owner == NOBODY and headers["parent_id"] is None):
            return {}
        return self._keys.headers(headers["id"], headers["task"], owner)

    def _in_header(self, headers: Mapping[str, Any]) -> Owner | None:
        value = headers.get(HEADER)
        return None if value is None else self._keys.owner(value, str(headers.get("id")), str(headers.get("task")))

    def _of_unrecorded(self, request: Any, attempt: AttemptState) -> Owner:
        if attempt.owner is None:
            attempt.owner = self._in_header(vars(request)) or self._of_record(request.parent_id)
        return attempt.owner

    def _of_record(self, task_id: str | None) -> Owner:
        return NOBODY if task_id is None else self._retry(lambda: self._store.owner_of(task_id))
