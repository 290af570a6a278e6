"""``ALLOWED_HOSTS``: the hosts for which the API answers.

A web page may give its own domain the address of this API (DNS rebinding). For a browser the API then belongs to that
page's origin, and only the Host header shows that the request was not for this API.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Sequence

from gql_api.addresses import host_name

_PROBES = frozenset({"/healthz", "/readyz"})
_METRICS = "/metrics"


class Hosts:
    """The hosts that requests may name.

    Health checks come by addresses that change, so their paths are open to every host: they reveal nothing. Prometheus
    scrapes metrics by such addresses too, and DNS rebinding needs a name, so ``/metrics`` is open to IP addresses.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._allows_all = "*" in patterns
        self._names = frozenset(patterns)
        self._suffixes = tuple(pattern.removeprefix("*") for pattern in patterns if pattern.startswith("*."))
        # Clients choose the header: the cache is small.
        self._allows = functools.lru_cache(64)(self._check)

    def allows(self, hosts: Sequence[bytes], path: str) -> bool:
        """Return whether a request with these Host headers may be answered: exactly one that names an allowed host."""
        if path in _PROBES:
            return True
        if len(hosts) != 1:
            return False
        return self._allows(hosts[0]) or (path == _METRICS and _is_address(hosts[0]))

    def _check(self, host: bytes) -> bool:
        name = _name(host)
        return name is not None and (self._allows_all or name in self._names or name.endswith(self._suffixes))


def _is_address(host: bytes) -> bool:
    try:
        ipaddress.ip_address((_name(host) or "").strip("[]"))
    except ValueError:
        return False
    return True


def _name(host: bytes) -> str | None:
    try:
        return host_name(host.decode("latin-1"))
    except ValueError:
        return None
