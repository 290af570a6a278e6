"""The versions of the task functions of this process: those of messages that it sends and receives."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from gql_api.record.fields import VERSION_HEADER, is_internal
from gql_api.registry.versions import binds, digest_in
from gql_api.worker.registration.signatures import define_signature

if TYPE_CHECKING:
    import celery
    from celery import Celery

    from gql_api.registry.definitions import TaskDefinition

logger = logging.getLogger(__name__)

# The keys under which a message, a signature or the arguments of one have others.
_NESTED = ("callbacks", "errbacks", "chain", "chord", "link", "link_error", "tasks", "header", "body")

_known: WeakKeyDictionary[celery.Task, TaskDefinition | None] = WeakKeyDictionary()


def signature_in(app: Celery, name: str) -> TaskDefinition | None:
    """Return the definition of a function by its signature; None for one that this process does not have."""
    task = app.tasks.get(name)
    if task is None or is_internal(name):
        return None
    if task not in _known:
        try:
            _known[task] = define_signature(task)
        except Exception:
            # Messages are sent and received without it.
            logger.exception("The signature of task %s cannot be described", name)
            _known[task] = None
    return _known[task]


def version_header(app: Celery, name: str) -> dict[str, str]:
    """Return the header with the version for which this process sends a message; none if it does not know."""
    signature = signature_in(app, name)
    # A function that takes everything stands for one of another program, whose parameters it does not know.
    if signature is None or signature.version is None or signature.takes_everything:
        return {}
    return {VERSION_HEADER: signature.version}


def is_for_another_version(app: Celery, name: str, headers: Any, args: Any, kwargs: Any) -> bool:
    """Return whether headers of a call name another version, and the call cannot be one for this process's own.

    It is a step of a chain, for example, that another process has composed.
    """
    version = headers.get(VERSION_HEADER) if isinstance(headers, Mapping) else None
    if digest_in(version, name) is None:
        return False
    own = signature_in(app, name)
    return own is None or (own.version != version and not binds(own, list(args or ()), dict(kwargs or {})))


def with_versions(app: Celery, part: Any) -> Any:
    """Return signatures of a canvas, in any nesting, each with the version for which this process composes it."""
    if isinstance(part, list | tuple):
        return [with_versions(app, each) for each in part]
    if not isinstance(part, Mapping):
        return part
    nested = {key: with_versions(app, part[key]) for key in _NESTED if part.get(key)}
    if "task" not in part or "options" not in part:
        return {**part, **nested}
    headers = {**version_header(app, part["task"]), **(part["options"].get("headers") or {})}
    options = {**part["options"], **({"headers": headers} if headers else {})}
    options.update({key: with_versions(app, options[key]) for key in _NESTED if options.get(key)})
    # Of Celery's own parts, the arguments are the signatures.
    kwargs = with_versions(app, part["kwargs"]) if is_internal(part["task"]) else part["kwargs"]
    return {**part, "options": options, "kwargs": kwargs}
