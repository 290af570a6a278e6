"""The time for which the token of a connection is valid."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from gql_api.access.principal import Principal
from gql_api.api.authentication.authenticator import Revocations

EXPIRED, REVOKED = "Token expired", "Token revoked"


class TokenLifetime:
    """The lifetime of the token of one connection, which ends when the token expires or is revoked.

    Args:
        principal: the principal of the token.
        revocations: the revocations of tokens, if tokens can be revoked.
        on_end: called once with the reason when the lifetime has ended, never before :meth:`start`.
    """

    __slots__ = ("_has_ended", "_on_end", "_principal", "_revocations", "_timer", "_unwatch", "expires_at")

    def __init__(self, principal: Principal, revocations: Revocations | None, on_end: Callable[[str], object]) -> None:
        self.expires_at = math.inf if principal.expires_at is None else principal.expires_at.timestamp()
        self._principal = principal
        self._revocations = revocations
        self._on_end = on_end
        self._has_ended = False
        self._timer: asyncio.TimerHandle | None = None
        self._unwatch: Callable[[], None] | None = None

    @property
    def is_over(self) -> bool:
        """True once the token is not valid any more, also before the event loop has had the time to call ``on_end``."""
        return self._has_ended or time.time() >= self.expires_at

    def start(self) -> None:
        """Wait for the end."""
        if self.expires_at < math.inf:
            self._wait()
        token_id = self._principal.token_id
        if token_id is not None and self._revocations is not None and not self._has_ended:
            self._unwatch = self._revocations.watch(token_id, lambda: self._end(REVOKED))

    def stop(self) -> None:
        """Stop waiting: the connection is closed."""
        self._has_ended = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None

    def _wait(self) -> None:
        # The clock of the event loop may run differently from that of the token.
        left = self.expires_at - time.time()
        if left > 0:
            self._timer = asyncio.get_running_loop().call_later(left, self._wait)
        else:
            self._end(EXPIRED)

    def _end(self, reason: str) -> None:
        if not self._has_ended:
            self.stop()
            self._on_end(reason)
