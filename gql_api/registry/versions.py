"""The versions of a task function's signature: while a deployment rolls, workers of one function have several."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gql_api.registry.definitions import VERSION_SEPARATOR, TaskDefinition

_DIGEST_LENGTH = 12
# The values of a larger call are not checked: a worker that receives it has other work.
_MAX_CHECKED_BYTES = 64 * 1024


def digest_of(name: str, input_schema: dict[str, Any], *parameters: Any) -> str:
    """Return the digest of a signature: the schema of its parameters, and how they can be given."""
    content = json.dumps([name, input_schema, *parameters], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:_DIGEST_LENGTH]


def digest_in(version: Any, name: str) -> str | None:
    """Read the digest of a version; None for anything else than a version of the function with this name."""
    if not isinstance(version, str):
        return None
    function, separator, digest = version.rpartition(VERSION_SEPARATOR)
    return digest if separator and function == name else None


def fits(definition: TaskDefinition, args: list[Any], kwargs: dict[str, Any], size: int) -> bool:
    """Return whether a function takes the arguments of a call, whose message has as many bytes."""
    return not (definition if size <= _MAX_CHECKED_BYTES else _names_only(definition)).check(args, kwargs)


def binds(definition: TaskDefinition, args: list[Any], kwargs: dict[str, Any]) -> bool:
    """Return whether Python would call the function with these arguments, whatever their types."""
    return not _names_only(definition).check(args, kwargs)


def is_left_over(digest: str, own: str | None, newest_first: Sequence[str], *, binds: bool) -> bool:
    """Return whether a worker runs a call that does not fit its version, while no live worker has the call's version.

    A version that is older than the worker's does not come back: the call runs, and may fail. A newer one is expected,
    and so is one that no worker has announced yet. But the sender of that may only annotate its function in another
    way, so that Python's own rules decide.
    """
    if digest not in newest_first:
        return binds
    return own in newest_first and newest_first.index(own) < newest_first.index(digest)


def for_version(definition: TaskDefinition, version: str | None) -> TaskDefinition | None:
    """Return the definition in the version that a waiting task was made for, with the number of workers that run it.

    None if that depends on the arguments of the task: see :func:`for_call`.
    """
    digest = digest_in(version, definition.name)
    if digest is None:
        return definition
    own = next((each for each in definition.versions if each.digest == digest), None)
    able = [each for each in definition.versions if each.workers]
    if own is not None and own.workers:
        able = [own]
    elif able and (own is None or definition.versions.index(own) < definition.versions.index(able[-1])):
        return None
    return replace(own or definition, workers=sum(each.workers for each in able) + definition.unversioned)


def for_call(
    definition: TaskDefinition, version: str | None, args: list[Any], kwargs: dict[str, Any]
) -> TaskDefinition:
    """Return the definition in a version that no live worker has, with the number of workers that run a call for it."""
    digest = digest_in(version, definition.name) or ""
    own = next((each for each in definition.versions if each.digest == digest), None)
    order = [each.digest for each in definition.versions if each.digest is not None]
    size = len(json.dumps([args, kwargs]))
    able = definition.unversioned
    for each in definition.versions:
        left_over = each.workers and is_left_over(digest, each.digest, order, binds=binds(each, args, kwargs))
        if left_over or (each.workers and fits(each, args, kwargs, size)):
            able += each.workers
    return replace(own or definition, workers=able)


def _names_only(definition: TaskDefinition) -> TaskDefinition:
    schema = definition.input_schema
    properties: dict[str, Any] = {name: {} for name in schema.get("properties", {})}
    return replace(definition, input_schema={**schema, "properties": properties, "$defs": {}})
