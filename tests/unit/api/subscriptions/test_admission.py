"""How many connections may be open."""

from __future__ import annotations

import pytest

from gql_api.api.errors import OverloadedError
from gql_api.api.subscriptions.admission import Admission

_GOOGLE, _OTHER = "8.8.8.8", "9.9.9.9"


def test_the_process_has_a_maximum() -> None:
    """One connection more is refused, whatever its address, until another one has closed."""
    admission = Admission("connections", 2, 10)
    admission.enter("127.0.0.1")
    admission.enter(_GOOGLE)
    with pytest.raises(OverloadedError, match=r"^The API has 2 connections, its maximum, try again in 1 s$"):
        admission.enter(_OTHER)
    admission.leave(_GOOGLE)
    admission.enter(_OTHER)
    assert admission.count == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [(_GOOGLE, _GOOGLE), ("2600::1", "2600::2"), ("::ffff:8.8.8.8", _GOOGLE)],
    ids=["same", "same network", "mapped"],
)
def test_a_public_address_has_a_maximum(first: str, second: str) -> None:
    """Another address has its own; the addresses of an IPv6 network are one."""
    admission = Admission("connections", 100, 1)
    admission.enter(first)
    for _ in range(2):
        with pytest.raises(OverloadedError, match="for one address"):
            admission.enter(second)
    admission.enter(_OTHER)
    admission.leave(first)
    admission.enter(second)
    assert admission.count == 2


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "10.1.2.3", "192.168.0.1", "fd00::1", "", "unknown", "\n"])
def test_other_addresses_have_none(host: str) -> None:
    """They are those of proxies, through which all clients come, or no addresses at all."""
    admission = Admission("connections", 100, 1)
    for _ in range(10):
        admission.enter(host)
    for _ in range(10):
        admission.leave(host)
    assert admission.count == 0
