"""The holders of quotas: principals, by tenant and subject, and tenants."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache

from gql_api.access.principal import Principal
from gql_api.query import quotas
from gql_api.record.reads import Document


class Kind(StrEnum):
    """The kinds of holders, as they are named in errors and metrics."""

    PRINCIPAL = "principal"
    TENANT = "tenant"


@dataclass(frozen=True)
class Holder:
    """A principal, whichever of its tokens it uses, or a tenant.

    Attributes:
        tenant: the tenant; None for a principal without one.
        subject: the subject; None if the holder is the tenant.
    """

    tenant: str | None
    subject: str | None = None

    @property
    def kind(self) -> Kind:
        """The kind of the holder."""
        return Kind.TENANT if self.subject is None else Kind.PRINCIPAL

    @cached_property
    def digest(self) -> str:
        """A text of a bounded length that no other holder of its kind has."""
        return hashlib.sha256(json.dumps([self.tenant, self.subject]).encode()).hexdigest()[:32]

    @property
    def tasks(self) -> Document:
        """The query of its tasks."""
        if self.subject is not None:
            return quotas.of_owner(self.tenant, self.subject)
        return quotas.of_tenant(self.tenant or "")


def holders_of(principal: Principal) -> tuple[Holder, ...]:
    """Return whose quotas hold for a call: the principal and its tenant. A call without authentication has none."""
    return () if principal.subject is None else _holders(principal.tenant, principal.subject)


@lru_cache(4096)
def _holders(tenant: str | None, subject: str) -> tuple[Holder, ...]:
    own = Holder(tenant, subject)
    return (own,) if tenant is None else (own, Holder(tenant))


@dataclass(frozen=True)
class Maximum:
    """The quotas of one kind for principals and tenants; 0 for none.

    Attributes:
        name: what they bound.
        per_principal: the quota of each principal.
        per_tenant: the quota of each tenant.
    """

    name: str
    per_principal: float
    per_tenant: float

    def __bool__(self) -> bool:
        return bool(self.per_principal or self.per_tenant)

    def of(self, holder: Holder) -> float:
        """Return the quota of a holder."""
        return self.per_principal if holder.kind is Kind.PRINCIPAL else self.per_tenant

    def bounded(self, principal: Principal) -> list[tuple[Holder, float]]:
        """Return whose quotas a call has to keep to, with the quotas: the principal's first."""
        return [(holder, self.of(holder)) for holder in holders_of(principal) if self.of(holder)] if self else []

    def limit(self, holder: Holder) -> str:
        """Return the name of the quota of a holder, as errors and metrics have it."""
        return f"{self.name} of a {holder.kind}"
