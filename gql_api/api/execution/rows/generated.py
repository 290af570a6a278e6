"""Generate the function that completes the objects of a selection: a loop over its steps takes three times as long.

The source of a function has nothing in it that a client wrote: all that differs among documents are its variables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NoReturn

from gql_api.api.execution.rows.steps import Place, Step

_NULL = type(None)


def completion_of(
    kind: type, steps: Sequence[Step], refuse: Callable[[Any], NoReturn]
) -> Callable[[Any], dict[str, Any]]:
    """Return the function that takes all steps in their order, for objects of exactly this class.

    It takes them by shorter ways where the steps have some, with the same results.
    """
    owners = {step.place.owner: f"owner{number}" for number, step in enumerate(steps) if step.place is not None}
    variables: dict[str, Any] = {"kind": kind, "refuse": refuse}
    items = []
    for number, step in enumerate(steps):
        variables |= {
            f"step{number}": step,
            f"key{number}": step.key,
            f"read{number}": step.read,
            f"kept{number}": step.kept,
            f"found{number}": step.kept - {_NULL},
            f"complete{number}": step.complete,
            f"names{number}": step.names,
        }
        items.append(f"key{number}: {_value(step, number, owners)},")
    places = [f"{name} = source.{owner}; {name}_get = {name}.document.get" for owner, name in owners.items()]
    lines = ["if type(source) is not kind: refuse(source)", *places, "return {", *items, "}"]
    body = "\n".join(f"  {line}" for line in lines)
    source = f"def make({', '.join(variables)}):\n def complete(source):\n{body}\n return complete"
    complete: Callable[[Any], dict[str, Any]] = _maker(source)(**variables)
    return complete


def _value(step: Step, number: int, owners: Mapping[str, str]) -> str:
    """Return the expression for the value of one step."""
    if step.place is not None and (step.kept - {_NULL} or step.place.may_be_absent):
        return _stored(step.place, step, number, owners[step.place.owner])
    read = f"read{number}(source)" if step.path is None else f"source.{step.path}"
    if step.names:
        other = f"v if type(v) in kept{number} else complete{number}(v)"
        return f"name if (name := names{number}.get(id(v := {read}))) is not None else {other}"
    return f"v if type(v := {read}) in kept{number} else complete{number}(v)"


def _stored(place: Place, step: Step, number: int, owner: str) -> str:
    """Return the expression for the value of a step that has a place."""
    found, value = f"v := {owner}_get({place.name!r})", f"step{number}(source)"
    is_null = f"is None and {place.name!r} not in {owner}.omitted"
    if not step.is_shown_as_stored:
        return f"None if ({found}) {is_null} else {value}"
    rest = f"None if v {is_null} else {value}" if place.may_be_absent and _NULL in step.kept else value
    return f"v if type({found}) in found{number} else {rest}"


@lru_cache(1000)
def _maker(source: str) -> Callable[..., Any]:
    namespace: dict[str, Any] = {}
    exec(source, namespace)  # noqa: S102 - see above: only names of this project's own schema are in the source
    maker: Callable[..., Any] = namespace["make"]
    return maker
