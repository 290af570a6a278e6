"""The generated check of an object by a table of rules: one call of a function instead of one for each field.

All events are checked before they are read. The source of a check has the names of fields and the limits of this
project's own table, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any

Check = Callable[[Any], bool]
Rule = Mapping[str, Any]
MakeCheck = Callable[[Rule, bool], Check]
"""Makes the check of a value from its rule, and from whether the value may be absent."""

# The types that values mostly have.
_USUAL = {"string": str, "int": int, "date": datetime, "array": list, "object": dict}


def object_check(rules: Mapping[str, Rule], required: Collection[str], make: MakeCheck) -> Check:
    """Return the check of an object whose fields keep their rules, by the names of the fields.

    A short condition accepts the usual values of a field. All others are left to the check that ``make`` returns.
    """
    variables: dict[str, Any] = {"dict": dict}
    conditions = []
    for number, (name, rule) in enumerate(rules.items()):
        check = variables[f"check{number}"] = make(rule, name not in required)
        found = f"value := get({name!r})"
        if check(None):
            short = f"({found}) is None or {_short(rule, 'value', number, variables, make)}"
        else:
            short = _short(rule, found, number, variables, make)
        conditions.append(f"({short} or check{number}(value))")
    lines = ["if type(document) is not dict: return False", "get = document.get", f"return {' and '.join(conditions)}"]
    source = "\n ".join(["def check(document):", *lines])
    exec(source, variables)  # noqa: S102 - see above: nothing in the source comes from a client or a record
    generated: Check = variables["check"]
    return generated


def _short(rule: Rule, value: str, number: int, variables: dict[str, Any], make: MakeCheck) -> str:
    """Return a condition that holds for most values that keep a rule, and for no others."""
    if "enum" in rule:
        variables[f"allowed{number}"] = frozenset(rule["enum"])
        return f"type({value}) is str and value in allowed{number}"
    usual = next(_USUAL[name] for name in rule["bsonType"] if name in _USUAL)
    variables[usual.__name__] = usual
    condition = f"type({value}) is {usual.__name__}"
    if "minimum" in rule:
        return f"{condition} and {rule['minimum']} <= value <= {rule['maximum']}"
    if "items" in rule:
        items = rule["items"]
        variables[f"item{number}"] = object_check(items["properties"], items["required"], make)
        return f"{condition} and all(map(item{number}, value))"
    if rule.get("properties"):
        variables[f"fields{number}"] = object_check(rule["properties"], rule.get("required", ()), make)
        return f"{condition} and fields{number}(value)"
    return condition
