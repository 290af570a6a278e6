"""The holders of quotas."""

from __future__ import annotations

from gql_api.access.principal import ALL_SCOPES, ANONYMOUS, Principal
from gql_api.api.quotas.holders import Holder, Maximum, holders_of


def test_a_principal_and_its_tenant_hold_quotas() -> None:
    """A principal without a tenant holds its own only, and a call without authentication none."""
    assert holders_of(Principal("alice", ALL_SCOPES, "acme")) == (Holder("acme", "alice"), Holder("acme"))
    assert holders_of(Principal("alice", ALL_SCOPES)) == (Holder(None, "alice"),)
    assert holders_of(ANONYMOUS) == ()


def test_only_quotas_that_are_set_bound_a_call() -> None:
    """0 is no quota."""
    alice = Principal("alice", ALL_SCOPES, "acme")
    assert Maximum("open tasks", 0, 5).bounded(alice) == [(Holder("acme"), 5)]
    assert Maximum("open tasks", 3, 0).bounded(alice) == [(Holder("acme", "alice"), 3)]
    assert not Maximum("open tasks", 0, 0)


def test_no_two_holders_have_one_digest() -> None:
    """Subjects may contain whatever separates other parts of a key."""
    holders = [Holder("a", "b"), Holder("a/b"), Holder(None, "a/b"), Holder(None, "b"), Holder("a", None), Holder("b")]
    assert len({holder.digest for holder in holders}) == len(holders)
