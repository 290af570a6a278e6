"""The rule for servers that others can reach: they start only if their operator has decided who may use them."""

from __future__ import annotations

import socket

from gql_api.addresses import is_loopback
from gql_api.settings import Settings, SettingsError


def settings_for(settings: Settings, host: str) -> Settings:
    """Return the settings of a server that listens on an address: production is on unless the address is loopback.

    Raises:
        SettingsError: others can reach the address, and the settings do not allow that by name.
    """
    if _is_private(host):
        return settings
    if not settings.may_be_reached_by_others:
        raise SettingsError(
            f"the API has no authentication, and others may reach {host or 'all addresses'}: set JWT_JWKS_URL, "
            "JWT_SECRET, API_TOKENS, ACCESS_SECRET or AUTHENTICATE, or AUTH=none and ALLOW_UNAUTHENTICATED=yes if only "
            "trusted clients can reach it, or listen on 127.0.0.1"
        )
    if "allowed_hosts" not in settings.model_fields_set:
        raise SettingsError(
            f"ALLOWED_HOSTS: name the hosts by which clients reach {host or 'all addresses'}, like api.example.com, "
            "or * for all"
        )
    if "production" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"production": True})


def _is_private(host: str) -> bool:
    """Return whether only this machine can reach a server that listens on a host."""
    try:
        found = socket.getaddrinfo(host or None, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        return False
    return all(is_loopback(str(address[0])) for *_, address in found)
