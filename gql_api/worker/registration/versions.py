"""The versions of the task functions of this process: those of messages that it sends and receives."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from gql_api.record.fields import VERSION_HEADER, is_internal
from gql_api.worker.registration.signatures import define_signature

if TYPE_CHECKING:
    import celery
    from celery import Celery

    from gql_api.registry.definitions import TaskDefinition

logger = logging.getLogger(__name__)

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
