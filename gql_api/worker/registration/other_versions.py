"""Messages for another version of a task function than the worker's: it leaves them to workers that have that version.

A call that fits the worker's own version runs here, as before. The strategies of Celery's consumer receive all messages
of known functions, so the check stands before each of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gql_api.record import fields
from gql_api.record.fields import VERSION_HEADER
from gql_api.registry import stored_versions, versions
from gql_api.worker.registration.versions import signature_in

if TYPE_CHECKING:
    from celery import Celery

    from gql_api.worker.backend.backend import Backend

# How long a worker relies on what it has found about a version that no live worker has.
_LEFT_OVER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class OtherVersion:
    """The version of a message whose call does not fit the worker's own version.

    ``binds`` is whether Python would call the worker's function with its arguments.
    """

    name: str
    version: str
    binds: bool


class Strategies(dict[str, Callable[..., Any]]):
    """The strategies of a consumer, which Celery makes again when a limit changes.

    ``leave`` returns whether it leaves a message to another worker. It gets the name of the function, the message, and
    what hands the message to its strategy after all.
    """

    def __init__(self, leave: Callable[[str, Any, Callable[[], Any]], bool]) -> None:
        super().__init__()
        self._leave = leave

    def __setitem__(self, name: str, strategy: Callable[..., Any]) -> None:
        def receive(message: Any, *args: Any, **kwargs: Any) -> Any:
            if self._leave(name, message, lambda: strategy(message, *args, **kwargs)):
                return None
            return strategy(message, *args, **kwargs)

        super().__setitem__(name, receive)


class Versions:
    """The versions of the functions of a worker: its own, and those that it has found announced."""

    def __init__(self, app: Celery, backend: Backend) -> None:
        self._app = app
        self._backend = backend
        self._left_over_until: dict[OtherVersion, float] = {}

    def other_version(self, name: str, message: Any) -> OtherVersion | None:
        """Return the version of a message if its call does not fit the worker's own; None if it does."""
        version, own = message.headers.get(VERSION_HEADER), signature_in(self._app, name)
        if own is None or version == own.version or versions.digest_in(version, name) is None:
            return None
        try:
            args, kwargs, _ = self._backend.codec.plain_form(message.payload)
            if versions.fits(own, args, kwargs, len(message.body)):
                return None
            other = OtherVersion(name, version, versions.binds(own, args, kwargs))
        except Exception:  # noqa: BLE001 - the strategy finds the same error, and handles it
            return None
        return None if time.monotonic() < self._left_over_until.get(other, 0.0) else other

    def note(self, others: list[OtherVersion], known: set[str]) -> None:
        """Find which of some versions are left over: no live worker has them, and none will; ``known`` are others'."""
        missing = [other for other in others if other.version not in known]
        if not missing:
            return
        names, restart = sorted({other.name for other in missing}), self._backend.settings.lease_seconds
        found = self._backend.database[fields.DEFINITIONS].aggregate(stored_versions.order(names, restart))
        orders = {order.name: order for order in map(stored_versions.order_from, found)}
        until = time.monotonic() + _LEFT_OVER_SECONDS
        for other in missing:
            own, order = signature_in(self._app, other.name), orders.get(other.name)
            digest = versions.digest_in(other.version, other.name) or ""
            if order is None or own is None or digest in order.recent:
                continue
            if versions.is_left_over(digest, own.digest, order.newest_first, binds=other.binds):
                self._left_over_until[other] = until

    def is_left_over(self, other: OtherVersion | None) -> bool:
        """Return whether the worker runs the calls of a version, as the last :meth:`note` has found."""
        return other is not None and time.monotonic() < self._left_over_until.get(other, 0.0)
