"""The sending of tasks that were just stored: their events and their messages, many at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeAlias

from pymongo.errors import PyMongoError

from gql_api.access.visibility import EVERYTHING
from gql_api.api.commands import fail_points
from gql_api.api.commands.changes import Changes
from gql_api.api.commands.known_definitions import KnownDefinitions
from gql_api.api.creation.groups import Stored
from gql_api.api.store.tasks import Document, TaskStore
from gql_api.dispatch import Dispatcher, OperationalError, Transport
from gql_api.record import due
from gql_api.record.fields import Status
from gql_api.record.model import NewTask
from gql_api.record.reads import TaskRecord
from gql_api.settings import Settings
from gql_api.telemetry.counters import TASKS_CREATED

logger = logging.getLogger(__name__)

_PUBLISHERS = 4
# A call does not wait longer for a broker that does not answer: the task is stored, and is published in its thread.
_PUBLISH_SECONDS = 2.0
_COMPARE_SECONDS = 30.0

# The options of a broker, and the ids of the brokers of live workers with them.
_Destination: TypeAlias = tuple[Transport, frozenset[str]]


class TaskSender:
    """A sender of the events and messages of tasks that were just stored, with threads that publish messages."""

    def __init__(
        self,
        settings: Settings,
        store: TaskStore,
        definitions: KnownDefinitions,
        dispatcher: Dispatcher,
        changes: Changes,
    ) -> None:
        self._settings = settings
        self._store = store
        self._definitions = definitions
        self._dispatcher = dispatcher
        self._changes = changes
        self._compares_from: dict[Transport, float] = {}
        # Until this time, messages may be sent together with the events.
        self._with_events_until = 0.0
        self._publishing: set[asyncio.Future[Any]] = set()
        self._publishers = ThreadPoolExecutor(_PUBLISHERS, thread_name_prefix="publisher")

    async def close(self) -> None:
        """Wait until all messages are published."""
        await asyncio.gather(*self._publishing)
        await asyncio.to_thread(self._publishers.shutdown)

    async def send(self, tasks: Sequence[NewTask], documents: Sequence[Document]) -> None:
        """Announce stored records, and publish the messages of those that may start now."""
        TASKS_CREATED.inc(len(documents))
        await self._send(tasks, documents, are_small=False)

    async def send_group(self, stored: Sequence[Stored]) -> Sequence[Exception | None]:
        """Do the same for tasks whose documents are small, in the event loop, and return the error of each."""
        fail_points.reached(fail_points.CREATED)
        TASKS_CREATED.inc(len(stored))
        outcomes = await self._each_sent(stored)
        fail_points.reached(fail_points.PUBLISHED)
        return outcomes

    async def _each_sent(self, stored: Sequence[Stored]) -> Sequence[Exception | None]:
        try:
            await self._send([task for task, _ in stored], [document for _, document in stored], are_small=True)
        except Exception as error:  # noqa: BLE001 - its caller receives it
            if len(stored) == 1:
                return [error]
            # Each caller receives the error of its own task only. To send a task twice does no harm.
            sends = (self._send([task], [document], are_small=True) for task, document in stored)
            outcomes = await asyncio.gather(*sends, return_exceptions=True)
            return [outcome if isinstance(outcome, Exception) else None for outcome in outcomes]
        return [None] * len(stored)

    async def _send(self, tasks: Sequence[NewTask], documents: Sequence[Document], *, are_small: bool) -> None:
        waiting = {record.id: record for record in map(TaskRecord, documents) if record.status is Status.QUEUED}
        now = [_sent_now(task, waiting[task.id]) for task in tasks if task.id in waiting]
        if not are_small:
            await asyncio.gather(self._changes.announce(documents), self.publish(now))
        elif (messages := await self._with_events(now)) is None:
            await asyncio.gather(self._changes.announce_small(documents), self.publish(now))
        elif not await self._announce_with(messages, documents):
            # The broker may have received some of them. To send a task twice does no harm.
            self._with_events_until = 0.0
            await self.publish(now)

    async def _with_events(self, tasks: Sequence[NewTask]) -> dict[str, list[str]] | None:
        """Return messages, by their lists, that can be sent together with the events; None if kombu has to send them.

        Kombu has sent others to the same broker a moment ago. So the queues are bound, and the broker was compared with
        that of the workers.
        """
        if time.monotonic() >= self._with_events_until:
            return None
        if any(transport for transport, _ in await self._by_destination(tasks)):
            return None
        return self._dispatcher.ready(tasks)

    async def _announce_with(self, messages: Mapping[str, Sequence[str]], documents: Sequence[Document]) -> bool:
        sending = asyncio.current_task()
        assert sending is not None  # noqa: S101 - a coroutine runs in a task
        self._publishing.add(sending)
        try:
            return await self._changes.announce_small(documents, messages)
        finally:
            self._publishing.discard(sending)

    async def publish(self, tasks: Sequence[NewTask]) -> None:
        """Publish the messages of tasks that are already stored, from a thread, for Celery's publishing blocks.

        The call succeeds even if the broker is away.
        """
        if not tasks:
            return
        publishing = asyncio.ensure_future(self._publish_and_note(await self._by_destination(tasks)))
        self._publishing.add(publishing)
        publishing.add_done_callback(self._publishing.discard)
        with contextlib.suppress(TimeoutError):  # the thread continues
            async with asyncio.timeout(_PUBLISH_SECONDS):
                await asyncio.shield(publishing)

    async def _publish_and_note(self, by_destination: Mapping[_Destination, Sequence[NewTask]]) -> None:
        loop = asyncio.get_running_loop()
        sent = await loop.run_in_executor(self._publishers, self._publish_or_log, by_destination)
        if not sent or not self._settings.shares_queues:
            return
        try:
            numbers = {task.attempts for task in sent}
            await self._store.change_many(
                [due.sent([task.id for task in sent if task.attempts == number], number) for number in numbers],
                EVERYTHING,
            )
        except PyMongoError as error:
            logger.warning(
                "%d tasks are sent, and perhaps sent again, for that could not be noted: %s", len(sent), error
            )

    async def _by_destination(self, tasks: Sequence[NewTask]) -> dict[_Destination, list[NewTask]]:
        """Group tasks by the broker from which their workers receive messages."""
        names = {task.name for task in tasks}
        try:
            definitions = await self._definitions.of(names)
        except PyMongoError as error:
            logger.warning("MongoDB does not answer, the workers' brokers are those of before: %s", error)
            definitions = self._definitions.known(names)
        grouped: dict[_Destination, list[NewTask]] = {}
        for task in tasks:
            definition = definitions.get(task.name)
            destination = ((), frozenset[str]()) if definition is None else (definition.transport, definition.brokers)
            grouped.setdefault(destination, []).append(task)
        return grouped

    def _publish_or_log(self, by_destination: Mapping[_Destination, Sequence[NewTask]]) -> list[NewTask]:
        """Publish messages, and return the tasks whose messages the broker has."""
        sent: list[NewTask] = []
        for (transport, brokers), tasks in by_destination.items():
            try:
                self._dispatcher.publish(tasks, transport)
            except OperationalError as error:
                ids = ", ".join(task.id for task in tasks)
                logger.warning("Task %s is stored, but the broker did not take its message: %s", ids, error)
            else:
                sent += tasks
                if not transport and self._settings.has_events_in_broker:
                    self._with_events_until = time.monotonic() + _COMPARE_SECONDS
                self._compare(transport, brokers, tasks[0].name)
        return sent

    def _compare(self, transport: Transport, brokers: frozenset[str], name: str) -> None:
        """Log, every half a minute at most, that the workers of a task have another broker than this process."""
        now = time.monotonic()
        if not brokers or now < self._compares_from.get(transport, 0.0):
            return
        self._compares_from[transport] = now + _COMPARE_SECONDS
        try:
            # The brokers are those of the workers' last heartbeats.
            differs = self._dispatcher.broker_id(transport) not in brokers
        except OperationalError:
            return
        if differs:
            logger.error(
                "The workers that run %s receive messages from another Redis, or another database of it, than that of "
                "CELERY_BROKER_URL: set the address that they have. Until then, tasks start late",
                name,
            )


def _sent_now(task: NewTask, record: TaskRecord) -> NewTask:
    # The expiry in the record is by the database's clock.
    return task if task.expires_at == record.expires_at else replace(task, expires_at=record.expires_at)
