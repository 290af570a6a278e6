"""The time for which the servers have answered: nothing is judged lost before every worker had time to act."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from kombu.exceptions import OperationalError
from pymongo.errors import PyMongoError

from gql_api.record import fields, queries
from gql_api.worker.recovery.backlog import Backlog

if TYPE_CHECKING:
    from gql_api.worker.backend.backend import Backend


logger = logging.getLogger(__name__)

# Tasks that are due wait for the first answer of a broker that was away.
_MAX_INTERVAL_SECONDS = 1.0


class Contact:
    """The contact of this worker with one server, which is unbroken while the server answers again and again.

    A pause of more than ``max_pause`` seconds breaks it, even if no call failed: the calls of a frozen server only take
    long. The answer of another run of the server breaks it too, as that run may have started without its data.
    """

    def __init__(self, max_pause: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_pause = max_pause
        self._clock = clock
        self._since: float | None = None
        self._last = 0.0
        self._run: str | None = None
        self._failing = False

    def is_open(self) -> bool:
        """Return whether the server answered when it was last asked, and not long ago."""
        return self._since is not None and self._clock() - self._last <= self._max_pause

    def note_answer(self, run: str | None = None) -> bool:
        """Note that the server has answered, and the id of its run if that is known.

        Returns:
            True if another run of the server has answered before.
        """
        is_other_run = self._run is not None and run != self._run
        if not self.is_open() or run != self._run:
            self._since = self._clock()
        self._last, self._run, self._failing = self._clock(), run, False
        return is_other_run

    def note_failure(self) -> bool:
        """Note that the server has not answered, and return whether that is news."""
        is_news, self._failing, self._since = not self._failing, True, None
        return is_news

    def has_lasted(self, seconds: float) -> bool:
        """Return whether the contact is unbroken since more than some seconds."""
        since = self._since
        return self.is_open() and since is not None and self._last - since > seconds


class Contacts:
    """The contacts of this worker with MongoDB and the broker."""

    def __init__(self, backend: Backend, backlog: Backlog, clock: Callable[[], float] = time.monotonic) -> None:
        self._backend = backend
        self._backlog = backlog
        self._lease = backend.settings.lease_seconds
        # A lease is extended three times while it lasts: during a pause of half of one, no worker loses its leases.
        self.store, self.broker = Contact(self._lease / 2, clock), Contact(self._lease / 2, clock)

    @property
    def store_interval(self) -> float:
        """The number of seconds between two questions to MongoDB, several of which fit into the longest pause.

        They are not more frequent than that: MongoDB answers each by a write to the journals of its majority.
        """
        return self._lease / 8

    @property
    def broker_interval(self) -> float:
        """The number of seconds between two questions to the broker, several of which fit into the longest pause."""
        return min(_MAX_INTERVAL_SECONDS, self._lease / 8)

    @property
    def is_store_steady(self) -> bool:
        """True if MongoDB has answered for one lease: living workers have extended their leases and made claims."""
        return self.store.has_lasted(self._lease)

    @property
    def is_broker_steady(self) -> bool:
        """True if the broker has answered for one lease: messages that were on their way to it have arrived."""
        return self.broker.has_lasted(self._lease)

    def ask_store(self) -> None:
        """Ask MongoDB whether it answers."""
        try:
            # Only a primary that has its majority answers this. Any other may not have the latest leases.
            self._backend.database[fields.BARRIERS].update_one(*queries.barrier(), upsert=True)
        except PyMongoError as error:
            if self.store.note_failure():
                logger.warning("MongoDB does not answer, so recovery waits: %s", error)
        else:
            self.store.note_answer()

    def ask_broker(self) -> None:
        """Ask the broker whether it answers."""
        try:
            run = self._backlog.run_id()
        except OperationalError as error:
            if self.broker.note_failure():
                logger.warning("The broker does not answer, so recovery sends nothing: %s", error)
        else:
            if self.broker.note_answer(run):
                logger.warning(
                    "The broker has started again, or its address leads to several servers: if this repeats, "
                    "lost messages are never sent again"
                )
