"""The quotas that are checked before tasks are created."""

from __future__ import annotations

import math
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias

from limits import RateLimitItemPerSecond

from gql_api.access.principal import Principal
from gql_api.api.errors import QuotaExceededError
from gql_api.api.execution.encoding import encode
from gql_api.api.quotas.figures import Figures
from gql_api.api.quotas.holders import Maximum
from gql_api.api.quotas.rates import SharedRates
from gql_api.record.model import NewTask

# The space, the name of the task function, and the idempotency key.
Key: TypeAlias = tuple[str | None, str, str]

# 0.29 times 100 is a little less than 29.
_ROUNDING = 1e-6
# What a record has beside its values, about.
_RECORD_BYTES = 1024


class CreationQuota(Protocol):
    """A quota for the creation of tasks."""

    async def check(self, tasks: Sequence[NewTask], principal: Principal) -> None:
        """Take what the creation of all of some tasks needs from the quota.

        Raises:
            QuotaExceededError: the principal or its tenant has not enough left.
        """

    def max_at_once(self, principal: Principal) -> int:
        """Return the largest number of tasks that a call may ever create."""


class RateQuota:
    """The quotas of tasks created in a second.

    The principal's quota comes first: it has to bound what the principal takes from the quota that its tenant shares.

    Args:
        rates: counts the creations.
        maximum: the quotas.
        burst_seconds: the time over which the average is taken.
    """

    def __init__(self, rates: SharedRates, maximum: Maximum, burst_seconds: int) -> None:
        self._rates = rates
        self._maximum = maximum
        self._burst_seconds = burst_seconds

    async def check(self, tasks: Sequence[NewTask], principal: Principal) -> None:
        """Take the creations of tasks from the quota.

        Raises:
            QuotaExceededError: the principal or its tenant has created too many.
        """
        cost = len(tasks)
        if cost > (most := self.max_at_once(principal)):
            holder = min(self._maximum.bounded(principal), key=lambda bounded: self._burst(bounded[1]))[0]
            raise QuotaExceededError(f"creates at once of a {holder.kind}", most, None)
        for holder, quota in self._maximum.bounded(principal):
            item = RateLimitItemPerSecond(self._burst(quota), self._burst_seconds, "creates")
            wait_seconds = await self._rates.take(item, holder.kind, holder.digest, cost=cost)
            if wait_seconds:
                raise QuotaExceededError(self._maximum.limit(holder), quota, wait_seconds)

    def max_at_once(self, principal: Principal) -> int:
        """Return how many tasks may be created at once."""
        return min((self._burst(quota) for _, quota in self._maximum.bounded(principal)), default=sys.maxsize)

    def _burst(self, quota: float) -> int:
        return max(1, math.floor(quota * self._burst_seconds + _ROUNDING))


class FigureQuota:
    """The quotas of a figure that each task adds to.

    Args:
        figures: the figures.
        maximum: the quotas.
        size: returns what a task adds.
        count: counts the tasks that have some idempotency keys.
        retry_seconds: when a client may try again.
    """

    def __init__(
        self,
        figures: Figures,
        maximum: Maximum,
        size: Callable[[NewTask], int],
        count: Callable[[list[Key]], Awaitable[int]],
        retry_seconds: int,
    ) -> None:
        self._figures = figures
        self._maximum = maximum
        self._size = size
        self._count = count
        self._retry_seconds = retry_seconds

    async def check(self, tasks: Sequence[NewTask], principal: Principal) -> None:
        """Add tasks to the figure.

        Raises:
            QuotaExceededError: the figure of the principal or its tenant would exceed its quota.
        """
        bounded = self._maximum.bounded(principal)
        if not bounded or not tasks:
            return
        for holder, quota in bounded:
            await self._figures.refresh(holder, quota)
        size = sum(map(self._size, tasks))
        for holder, quota in bounded:
            if self._figures.value(holder) + size <= quota:
                continue
            if await self._are_repeated(tasks):
                return
            retry_seconds = self._retry_seconds if size <= quota else None
            raise QuotaExceededError(self._maximum.limit(holder), quota, retry_seconds)
        for holder, _ in bounded:
            self._figures.add(holder, size)

    def max_at_once(self, principal: Principal) -> int:
        """Return the smallest quota: each task adds 1 at least."""
        return min((int(quota) for _, quota in self._maximum.bounded(principal)), default=sys.maxsize)

    async def _are_repeated(self, tasks: Sequence[NewTask]) -> bool:
        """Return whether earlier calls with the same idempotency keys have created all tasks, so that none is new."""
        keys = [(task.key_space, task.name, task.idempotency_key) for task in tasks if task.idempotency_key is not None]
        return len(keys) == len(tasks) and await self._count(keys) == len(keys)


def bytes_of(task: NewTask) -> int:
    """Return about how large the record of a new task is."""
    return _RECORD_BYTES + sum(len(encode(value)) for value in (task.args, task.kwargs, task.metadata))
