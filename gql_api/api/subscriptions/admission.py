"""The number of open connections, bounded in the process and for one address."""

from __future__ import annotations

import ipaddress
from collections import Counter
from functools import lru_cache

from gql_api.api.errors import OverloadedError

_NETWORK_BITS = 64


class Admission:
    """The connections of a process that are open, by address.

    Only public addresses have a limit of their own: any other one is, as a rule, that of a proxy or a load balancer,
    through which all clients come. The addresses of an IPv6 network of 64 bits count as one, because one client has
    them all.

    Args:
        name: what is counted, in the names of the limits.
        maximum: how many there may be.
        per_address: how many of one public address there may be.
    """

    def __init__(self, name: str, maximum: int, per_address: int) -> None:
        self.count = 0
        self._name = name
        self._maximum = maximum
        self._per_address = per_address
        self._by_address = Counter[str]()

    def enter(self, host: str) -> None:
        """Count a connection that opens.

        Raises:
            OverloadedError: there are too many.
        """
        if self.count >= self._maximum:
            raise OverloadedError(self._name, f"The API has {self.count:,} {self._name}, its maximum")
        address = _public_address(host)
        if address is not None:
            if self._by_address[address] >= self._per_address:
                message = f"{address} has {self._per_address:,} {self._name} to the API, the maximum for one address"
                raise OverloadedError(f"{self._name} per address", message)
            self._by_address[address] += 1
        self.count += 1

    def leave(self, host: str) -> None:
        """Count a connection that was counted and has closed."""
        self.count -= 1
        address = _public_address(host)
        if address is not None:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]


@lru_cache(4096)
def _public_address(host: str) -> str | None:
    """Return the address under which a connection counts; None for one without a limit of its own."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a proxy may report any text, and the peer of a Unix socket has no address
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if not address.is_global:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, _NETWORK_BITS), strict=False))
    return str(address)
