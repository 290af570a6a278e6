"""The versions of tasks that the watchers of lists have received, as long as it matters."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from gql_api.record.fields import Status
from gql_api.record.model import NO_VERSION, Version

# Longer than the time between two scans and their overlap.
REMEMBERED_SECONDS = 60.0
# The number of tasks whose versions may wait for a scan, about 35 MB of them. While MongoDB answers, few wait.
_MAX_UNCONFIRMED = 100_000
# The number of holders of these that are remembered.
_MAX_HOLDERS = 200_000

AnyHolder = TypeVar("AnyHolder", bound=Hashable)
_NOBODY: Mapping[Any, bool] = MappingProxyType({})

DELETED = Version(2**63, datetime.max.replace(tzinfo=UTC), Status.REVOKED)
"""The version of a deleted task: nothing is news after it."""


class ReceivedVersions(Generic[AnyHolder]):
    """The last version of each task that events, scans or corrections have brought, for a minute or so.

    A version that an event brought may be lost with the server that had stored it. It is kept until a scan of MongoDB
    has confirmed it, however long that takes, and with it its holders, who have to receive what MongoDB has instead.
    """

    def __init__(self) -> None:
        self._unconfirmed: dict[str, Version] = {}
        # None when there were too many to remember them. Most tasks have none.
        self._holders: dict[str, Mapping[AnyHolder, bool] | None] = {}
        self._holder_count = 0
        # With the time of the confirmation, the earliest first.
        self._confirmed: OrderedDict[str, tuple[Version, float]] = OrderedDict()

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._unconfirmed or task_id in self._confirmed

    @property
    def is_full(self) -> bool:
        """True when more versions are unconfirmed than may be."""
        return len(self._unconfirmed) > _MAX_UNCONFIRMED

    def last(self, task_id: str) -> Version:
        """Return the last version of a task; ``NO_VERSION`` if none is known."""
        version = self._unconfirmed.get(task_id)
        return self._confirmed.get(task_id, (NO_VERSION,))[0] if version is None else version

    def unconfirmed(self) -> dict[str, Version]:
        """Return a copy of the versions that no scan has confirmed."""
        return dict(self._unconfirmed)

    def holders(self, task_id: str) -> Mapping[AnyHolder, bool] | None:
        """Return the holders of the versions of a task that no scan has confirmed; None if they are not known."""
        return self._holders.get(task_id, _NOBODY)

    def add(self, task_id: str, version: Version, holders: Mapping[AnyHolder, bool] | None = _NOBODY) -> None:
        """Note a version that an event brought, with all holders of unconfirmed versions of the task."""
        self._confirmed.pop(task_id, None)
        self._unconfirmed[task_id] = version
        self._release(task_id)
        if holders is not None and self._holder_count + len(holders) > _MAX_HOLDERS:
            holders = None
        if holders is None or holders:
            self._holders[task_id] = holders
            self._holder_count += len(holders or ())

    def confirm(self, task_id: str, version: Version) -> None:
        """Note that a version cannot be lost any more."""
        now = time.monotonic()
        self._unconfirmed.pop(task_id, None)
        self._release(task_id)
        self._confirmed[task_id] = version, now
        self._confirmed.move_to_end(task_id)
        while now - next(iter(self._confirmed.values()))[1] > REMEMBERED_SECONDS:
            self._confirmed.popitem(last=False)

    def forget(self, task_id: str) -> None:
        """Forget a task: it may be created anew."""
        self._unconfirmed.pop(task_id, None)
        self._release(task_id)
        self._confirmed.pop(task_id, None)

    def clear(self) -> None:
        """Forget all."""
        self._unconfirmed.clear()
        self._confirmed.clear()
        self._holders.clear()
        self._holder_count = 0

    def _release(self, task_id: str) -> None:
        self._holder_count -= len(self._holders.pop(task_id, None) or ())
