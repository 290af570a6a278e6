"""The subscriptions of principals and tenants in this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

from gql_api.access.principal import Principal
from gql_api.api.errors import QuotaExceededError
from gql_api.api.quotas.holders import Holder, Maximum

_RETRY_SECONDS = 5


class SubscriptionQuotas:
    """A count of the subscriptions that each principal and each tenant has, bounded by quotas.

    Args:
        maximum: the quotas.
    """

    def __init__(self, maximum: Maximum) -> None:
        self._maximum = maximum
        self._bounded: dict[Hashable, list[Holder]] = {}
        self._counts = Counter[Holder]()

    def __len__(self) -> int:
        return len(self._bounded)

    def lack_of_room(self, principal: Principal) -> QuotaExceededError | None:
        """Return the error of another subscription of a principal, if there are too many already."""
        for holder, quota in self._maximum.bounded(principal):
            if self._counts[holder] >= quota:
                return QuotaExceededError(self._maximum.limit(holder), quota, _RETRY_SECONDS)
        return None

    def hold(self, subscription: Hashable, principal: Principal) -> None:
        """Count a subscription that begins; one that is counted already counts once."""
        if subscription in self._bounded or not (bounded := self._maximum.bounded(principal)):
            return
        holders = self._bounded[subscription] = [holder for holder, _ in bounded]
        self._counts.update(holders)

    def release(self, subscription: Hashable) -> None:
        """Count a subscription no longer, if it is counted."""
        for holder in self._bounded.pop(subscription, ()):
            self._counts[holder] -= 1
            if not self._counts[holder]:
                del self._counts[holder]


NO_SUBSCRIPTION_QUOTAS = SubscriptionQuotas(Maximum("subscriptions", 0, 0))
"""The quotas of a process that bounds no principal's subscriptions; it counts none."""
