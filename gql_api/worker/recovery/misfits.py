"""Tasks that recovery cannot move on, because their records do not fit: they are set aside, and the others go on."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kombu.exceptions import OperationalError
from pymongo.errors import OperationFailure
from redis.exceptions import RedisError

from gql_api.outage import is_outage
from gql_api.record import fields
from gql_api.record.fitness import rules
from gql_api.record.protection import repairs
from gql_api.record.reads import Document, TaskRecord
from gql_api.record.writes import Write

if TYPE_CHECKING:
    from gql_api.worker.backend.backend import Backend

logger = logging.getLogger(__name__)

# A worker of another version may know what to do with a record: it gets the time for that.
_MAX_FAILURES = 3
_MAX_REMEMBERED = 10_000
# As many are found by one sweep.
_PAGE = 100


class Misfits:
    """The records on which the recovery of one worker has failed, with the number of its failures."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._failures: OrderedDict[str, int] = OrderedDict()

    def sweep(self, filter_: Document) -> None:
        """Note those of the tasks that a filter finds whose records do not fit."""
        found = self._backend.collection.find(rules.not_fitting(filter_), dict.fromkeys(rules.LIFECYCLE.rules, 1))
        for document in found.limit(_PAGE):
            self.note(document[fields.ID], rules.LIFECYCLE.first_misfit(document) or "it breaks a rule")

    def take(self, ids: list[Any], write_of: Callable[[list[Any]], Write], taken: Document) -> list[Any]:
        """Make one conditional change of many tasks, or of each by itself if MongoDB cannot change one of them."""
        try:
            return self._backend.store.change_many(write_of(ids), {**taken, fields.ID: {"$in": ids}})
        except OperationFailure as error:
            if is_outage(error):
                raise
            if len(ids) == 1:
                self.note(ids[0], error)
                return []
        return [record for task_id in ids for record in self.take([task_id], write_of, taken)]

    def guard(self, record: TaskRecord, act: Callable[[TaskRecord], object]) -> None:
        """Act on a record, and note it if that fails because of the record.

        Raises:
            Exception: a server does not answer.
        """
        try:
            act(record)
        except Exception as error:
            if is_outage(error) or isinstance(error, OperationalError | RedisError | OSError):
                raise
            self.note(record.id, error)

    def note(self, task_id: Any, problem: object) -> None:
        """Log a record at its first failure, and set it aside at its third."""
        key = repr(task_id)
        failures = self._failures[key] = self._failures.pop(key, 0) + 1
        if len(self._failures) > _MAX_REMEMBERED:
            self._failures.popitem(last=False)
        text = problem if isinstance(problem, rules.Misfit) else f"{type(problem).__name__}: {problem}"
        if failures == 1:
            logger.error('Recovery leaves task %s out: %s. "gql-api doctor" lists such records', key, text)
        if failures >= _MAX_FAILURES:
            self._backend.store.note(repairs.set_aside(task_id, str(text)))
            del self._failures[key]
