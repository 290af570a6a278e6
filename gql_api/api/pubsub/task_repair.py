"""Compare the mailboxes of tasks with MongoDB: deliver what events missed, and take back what MongoDB lost."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping

from pymongo.errors import PyMongoError

from gql_api.access.visibility import EVERYTHING
from gql_api.api.pubsub.judging import is_seen
from gql_api.api.pubsub.mailbox import LogMailbox, Mailbox
from gql_api.api.store.committed import CommittedReads
from gql_api.api.store.deletions import Deletions
from gql_api.record.fields import Status
from gql_api.record.model import NO_VERSION, Version
from gql_api.record.reads import TaskRecord

logger = logging.getLogger(__name__)

AnyMailbox = Mailbox | LogMailbox
# A mailbox, and the version that it had before MongoDB was read.
_Held = list[tuple[AnyMailbox, Version]]


class TaskRepair:
    """The repair of mailboxes, by id of the task.

    It reads MongoDB for all watchers, behind a barrier, and each mailbox compares what it finds with the visibility of
    its watcher. What MongoDB does not show then, though a mailbox had it before, is lost:
    progress that a killed server or a replaced primary had announced, or a state that a watcher had read from there.
    """

    def __init__(
        self, committed: CommittedReads, deletions: Deletions, mailboxes: Mapping[str, Collection[AnyMailbox]]
    ) -> None:
        self._committed = committed
        self._deletions = deletions
        self._mailboxes = mailboxes

    async def run(self, task_ids: Collection[str], wait_for_events: Callable[[], Awaitable[None]] | None = None) -> int:
        """Repair the mailboxes of some tasks, and return the number of watchers that missed something.

        Args:
            task_ids: the tasks.
            wait_for_events: waits until the events of the newest changes should have come; None if none will come.
        """
        held = {
            id_: [(mailbox, mailbox.version) for mailbox in watchers]
            for id_ in task_ids
            if (watchers := self._mailboxes.get(id_))
        }
        if not held:
            return 0
        try:
            return await self._repair(held, wait_for_events)
        except PyMongoError as error:
            logger.warning("MongoDB does not answer, watched tasks are read again later: %s", error)
            return 0

    async def _repair(self, held: Mapping[str, _Held], wait_for_events: Callable[[], Awaitable[None]] | None) -> int:
        await self._committed.barrier()
        stored = await self._committed.versions(held, EVERYTHING)
        newer = self._newer(stored)
        if newer and wait_for_events is not None:
            await wait_for_events()
            newer = self._newer(stored)
        lost = {id_: boxes for id_ in stored if (boxes := _lost(held[id_], stored[id_]))}
        found = 0
        for record in await self._committed.records({*newer, *lost}, EVERYTHING) if newer or lost else ():
            found += sum(_correct(mailbox, version, record) for mailbox, version in lost.get(record.id, ()))
            found += sum(_put_missed(mailbox, record) for mailbox in self._mailboxes.get(record.id, ()))
        await self._delete({id_: boxes for id_, boxes in held.items() if id_ not in stored})
        return found

    async def _delete(self, missing: Mapping[str, _Held]) -> None:
        """End the mailboxes of the tasks that do not exist any more."""
        # A task that a watcher has not seen may not exist yet: only its tombstone shows that it will not come.
        unseen = [id_ for id_, boxes in missing.items() if not all(is_seen(*held) for held in boxes)]
        deleted = await self._deletions.among(unseen, EVERYTHING) if unseen else {}
        for id_, boxes in missing.items():
            for mailbox, version in boxes:
                if is_seen(mailbox, version):
                    mailbox.delete()
                elif id_ in deleted:
                    mailbox.delete(deleted[id_].last)

    def _newer(self, stored: Mapping[str, Version]) -> list[str]:
        """Return the tasks of which MongoDB has news for one of their watchers."""
        return [
            id_
            for id_, version in stored.items()
            if any(version.is_news(mailbox.version) for mailbox in self._mailboxes.get(id_, ()))
        ]


def _lost(held: _Held, stored: Version) -> _Held:
    """Return the mailboxes with a version that MongoDB had before the read, and does not have any more."""
    return [
        (mailbox, version)
        for mailbox, version in held
        if version not in (NO_VERSION, stored) and not stored.is_news(version)
    ]


def _correct(mailbox: AnyMailbox, lost: Version, record: TaskRecord) -> bool:
    """Let a mailbox continue from a record instead of a lost version; return whether the watcher has to know."""
    if mailbox.version != lost or record.version.is_news(lost):
        return False  # something newer has come meanwhile
    if record.status == lost.status == Status.STARTED and record.updated_at <= lost.updated_at:
        # Only progress was lost. More will come, or the end, and then the revision need not fall for the watcher.
        mailbox.rebase(record.version)
        return False
    mailbox.correct(record)
    return True


def _put_missed(mailbox: AnyMailbox, record: TaskRecord) -> bool:
    """Deliver a record, and return whether its event was missed."""
    # A new watcher has no version until it has read MongoDB for the first time: it has missed nothing.
    was_seen = is_seen(mailbox, mailbox.version)
    return mailbox.put(record, record.version) and was_seen
