"""The plan of a chaos run follows from its options."""

from __future__ import annotations

import pytest
from chaos_plan import FAILOVERS, KINDS, Options, Targets, plan

_TARGETS = Targets(["w", "p"], ["p"], ["a"], ["p/redis"], ["mongodb"])


def test_a_seed_decides_all_faults() -> None:
    """The same seed leads to the same faults, targets and pauses, another one to others."""
    plans = [plan(Options(50, seed), _TARGETS) for seed in (7, 7, 8)]
    assert plans[0] == plans[1] != plans[2]
    assert len(plans[0]) == 50


@pytest.mark.parametrize("members", [1, 3])
def test_all_kinds_of_faults_occur(members: int) -> None:
    """A long run has faults of every kind; only a replica set of three has failovers."""
    expected = {kind.name for kind in (*KINDS, *(FAILOVERS if members > 1 else ()))}
    assert {fault.kind for fault in plan(Options(2000, 1, members), _TARGETS)} == expected


def test_kinds_are_chosen_by_family_or_name() -> None:
    """KINDS selects families of faults and single faults, for bisecting."""
    chosen = {fault.kind for fault in plan(Options(200, 1, kinds=frozenset({"stop", "freeze-api"})), _TARGETS)}
    assert chosen == {"stop", "quit", "stop-api", "freeze-api"}


def test_the_clock_alone_is_a_kind() -> None:
    """A run can have a worker with a wrong clock and no other fault."""
    options = Options(10, 1, kinds=frozenset({"clock"}))
    assert options.has_wrong_clock
    assert plan(options, _TARGETS) == []


def test_an_unknown_kind_is_refused() -> None:
    """A misspelt kind, and a failover with one member, are errors."""
    for kind in ("kil", "failover"):
        with pytest.raises(ValueError, match=kind):
            Options(1, 1, kinds=frozenset({kind}))
