"""The quotas of a process, made from its settings."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Sequence

from gql_api.access.principal import Principal
from gql_api.aio.background import shielded
from gql_api.api.quotas.creates import CreationQuota, FigureQuota, Key, RateQuota, bytes_of
from gql_api.api.quotas.figures import Figures
from gql_api.api.quotas.holders import Holder, Maximum
from gql_api.api.quotas.rates import SharedRates
from gql_api.api.quotas.subscriptions import NO_SUBSCRIPTION_QUOTAS, SubscriptionQuotas
from gql_api.api.store.tasks import TaskStore
from gql_api.query import quotas
from gql_api.record.model import NewTask
from gql_api.settings import Settings

# Unfinished tasks are cheap to count, and their number changes all the time.
_COUNT_SECONDS = 1.0
_COUNTS_AT_ONCE = 4
# The sizes of all records of a holder take MongoDB long to add up.
_SUM_SECONDS = 60.0
_FAR_SUM_SECONDS = 300.0


class Quotas:
    """The quotas of principals and tenants.

    Args:
        creation: the quotas for the creation of tasks, those that cost least first.
        subscriptions: the quotas for subscriptions.
    """

    def __init__(
        self, creation: Sequence[CreationQuota] = (), subscriptions: SubscriptionQuotas = NO_SUBSCRIPTION_QUOTAS
    ) -> None:
        self.subscriptions = subscriptions
        self._creation = creation

    async def check_creates(self, tasks: Sequence[NewTask], principal: Principal) -> None:
        """Take what the creation of all of some tasks needs from the quotas.

        Raises:
            QuotaExceededError: the principal or its tenant has not enough left. None of the tasks may be created.
        """
        if tasks and self._creation:
            await self._check(tasks, principal)

    @shielded
    async def _check(self, tasks: Sequence[NewTask], principal: Principal) -> None:
        for quota in self._creation:
            await quota.check(tasks, principal)

    def max_at_once(self, principal: Principal) -> int:
        """Return the largest number of tasks that a call may ever create."""
        return min((quota.max_at_once(principal) for quota in self._creation), default=sys.maxsize)


NO_QUOTAS = Quotas()


@contextlib.asynccontextmanager
async def open_quotas(settings: Settings, store: TaskStore) -> AsyncIterator[Quotas]:
    """Open the quotas of the settings. Neither MongoDB nor Redis has to be up; without a quota neither is asked."""
    creation: list[CreationQuota] = []
    async with contextlib.AsyncExitStack() as stack:
        if rate := Maximum(
            "creates per second", settings.quota_creates_per_second, settings.quota_tenant_creates_per_second
        ):
            rates = SharedRates(settings.redis_url, store.channels.quotas)
            stack.push_async_callback(rates.close)
            creation.append(RateQuota(rates, rate, settings.quota_creates_burst_seconds))
        creation += _figure_quotas(settings, store, stack)
        subscriptions = Maximum("subscriptions", settings.quota_subscriptions, settings.quota_tenant_subscriptions)
        yield Quotas(creation, SubscriptionQuotas(subscriptions))


def _figure_quotas(settings: Settings, store: TaskStore, stack: contextlib.AsyncExitStack) -> list[FigureQuota]:
    open_tasks = Maximum("open tasks", settings.quota_open_tasks, settings.quota_tenant_open_tasks)
    stored_bytes = Maximum("stored bytes", settings.quota_stored_bytes, settings.quota_tenant_stored_bytes)

    async def count_open(holder: Holder) -> int:
        return await store.lists.count_up_to(quotas.unfinished(holder.tasks), int(open_tasks.of(holder)))

    async def sum_bytes(holder: Holder) -> int:
        return await store.lists.total(quotas.stored_bytes(holder.tasks))

    async def count_keys(keys: list[Key]) -> int:
        return await store.lists.count_up_to(quotas.with_keys(keys), len(keys))

    made = []
    if open_tasks:
        figures = Figures(
            count_open, seconds=_COUNT_SECONDS, far_seconds=_COUNT_SECONDS, waits=True, concurrency=_COUNTS_AT_ONCE
        )
        stack.push_async_callback(figures.close)
        made.append(FigureQuota(figures, open_tasks, lambda _: 1, count_keys, retry_seconds=round(_COUNT_SECONDS)))
    if stored_bytes:
        figures = Figures(sum_bytes, seconds=_SUM_SECONDS, far_seconds=_FAR_SUM_SECONDS, waits=False, concurrency=1)
        stack.push_async_callback(figures.close)
        made.append(FigureQuota(figures, stored_bytes, bytes_of, count_keys, retry_seconds=round(_SUM_SECONDS)))
    return made
