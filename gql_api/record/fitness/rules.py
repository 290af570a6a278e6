"""The rules for the fields of a record, as a check in Python and as a ``$jsonSchema`` for MongoDB.

Both are made from one table, so that a query leaves out what a reader would refuse. Values of tasks (arguments,
metadata, results) need no rules below their first level: ``values.load`` makes JSON of whatever it finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from bson import DBRef, Int64

from gql_api.record import fields as f
from gql_api.record.fields import Status
from gql_api.record.fitness.generated import Rule, object_check
from gql_api.record.model import MAX_INT

_NULL = type(None)
_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "int": (int, Int64),
    "long": (int, Int64),
    "double": (float,),
    "bool": (bool,),
    "date": (datetime,),
    "array": (list,),
    # PyMongo makes a DBRef of an object that looks like one.
    "object": (dict, DBRef),
    "null": (_NULL,),
}
# The bsonTypes by the names that people know.
_SHOWN = {"int": "a whole number", "long": "a whole number", "double": "a whole number", "date": "a time"}
_NOT_SHOWN = {"null"}


class Misfit(NamedTuple):
    """A field that breaks its rule, and how."""

    field: str
    problem: str

    def __str__(self) -> str:
        return f"{self.field} {self.problem}"


class MisfitError(ValueError):
    """A record or an event that does not fit was read."""

    def __init__(self, task_id: object, misfit: Misfit) -> None:
        super().__init__(f"the record of task {task_id} does not fit: {misfit}")
        self.misfit = misfit


def _whole(minimum: int, maximum: int = MAX_INT) -> Rule:
    # A number without a fraction may have been stored as a double, by MongoDB's shell for example.
    return {"bsonType": ["int", "long", "double"], "minimum": minimum, "maximum": maximum, "multipleOf": 1}


def _or_null(rule: Rule) -> Rule:
    return {**rule, "bsonType": [*rule["bsonType"], "null"]}


_TEXT: Rule = {"bsonType": ["string"]}
_TIME: Rule = {"bsonType": ["date"]}
_COUNT = _whole(0)
_STATUS: Rule = {"enum": sorted(str(status) for status in Status)}

# The fields that every record has, whatever version has written it.
_REQUIRED: dict[str, Rule] = {
    f.ID: _TEXT,
    f.REVISION: _whole(1),
    f.STATUS: _STATUS,
    f.NAME: _TEXT,
    f.ATTEMPTS: _COUNT,
    f.QUEUE: _TEXT,
    f.PRIORITY: _whole(-MAX_INT - 1),
    f.ROOT_ID: _TEXT,
    f.CREATED_AT: _TIME,
    f.UPDATED_AT: _TIME,
    f.HISTORY: {"bsonType": ["array"]},
}
_LIFECYCLE: dict[str, Rule] = {
    **_REQUIRED,
    **{name: _or_null(_COUNT) for name in (f.LOST_ATTEMPTS, f.LOST_WORKERS, f.REJECTIONS)},
    **{name: _or_null(_TIME) for name in (f.DUE_AT, f.EXPIRES_AT, f.CANCEL_REQUESTED_AT)},
}
_TRANSITION: Rule = {
    "bsonType": ["object"],
    "required": [f.REVISION, f.STATUS, f.AT],
    "properties": {
        f.REVISION: _whole(1),
        f.STATUS: _STATUS,
        f.AT: _TIME,
        f.WORKER: _or_null(_TEXT),
        f.MESSAGE: _or_null(_TEXT),
        f.ACTOR: _or_null(_TEXT),
    },
}
_ERROR: Rule = {
    "bsonType": ["object", "null"],
    "required": [f.TYPE, f.MESSAGE],
    "properties": {
        f.TYPE: _TEXT,
        f.MESSAGE: _TEXT,
        f.TRACEBACK: _or_null(_TEXT),
    },
}
_VALUES: dict[str, Rule] = {
    f.ARGS: {"bsonType": ["array", "object"]},
    f.KWARGS: {"bsonType": ["object"]},
    f.METADATA: {"bsonType": ["object"]},
}
_ALL: dict[str, Rule] = {
    **_LIFECYCLE,
    **_VALUES,
    f.HISTORY: {"bsonType": ["array"], "items": _TRANSITION},
    f.ERROR: _ERROR,
    f.PROGRESS: {"bsonType": ["object", "null"], "properties": {}},
    f.METADATA_REVISION: _or_null(_whole(1)),
    **{
        name: _or_null(_TEXT)
        for name in (
            f.WORKER,
            f.PARENT_ID,
            f.OWNER,
            f.TENANT,
            f.IDEMPOTENCY_KEY,
            f.REPLAY_OF,
            f.CANCEL_REASON,
            f.CANCEL_ACTOR,
            f.CLAIM,
        )
    },
    **{name: _or_null(_TIME) for name in (f.SCHEDULED_FOR, f.STARTED_AT, f.FINISHED_AT)},
}
_MUST_EXIST = {*_REQUIRED, *_VALUES}


@dataclass(frozen=True)
class Fitness:
    """The rules for some fields of a record, by their stored names; :func:`of` makes it."""

    rules: Mapping[str, Rule]

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The ``$jsonSchema`` of records that fit."""
        required = [name for name in self.rules if name in _MUST_EXIST]
        return {"bsonType": "object", "required": required, "properties": dict(self.rules)}

    def first_misfit(self, document: Mapping[str, Any]) -> Misfit | None:
        """Return a field that breaks its rule; None for a document that fits."""
        if self._accepts(document):
            return None
        if not self._required <= document.keys():
            name = next(name for name in self.rules if name in self._required and name not in document)
            return Misfit(name, _problem(None, self.rules[name]))
        return self.misfit_among_present(document)

    def misfits(self, document: Mapping[str, Any]) -> list[Misfit]:
        """Return all fields that break their rules."""
        broken = [name for name, accepts in self._checks.items() if not accepts(document.get(name))]
        return [Misfit(name, _problem(document.get(name), self.rules[name])) for name in broken]

    def fits(self, name: str, value: Any) -> bool:
        """Return whether a value keeps the rule for a field."""
        return self._checks[name](value)

    @property
    def optional(self) -> set[str]:
        """The names of the fields that a record need not have."""
        return {name for name in self.rules if name not in _MUST_EXIST}

    def misfit_among_present(self, document: Mapping[str, Any]) -> Misfit | None:
        """Do the same as :meth:`first_misfit`, but for the fields that the document has."""
        find = self._checks.get
        for name, value in document.items():
            accepts = find(name)
            if accepts is not None and not accepts(value):
                return Misfit(name, _problem(value, self.rules[name]))
        return None

    @cached_property
    def _accepts(self) -> Callable[[Any], bool]:
        """Returns whether a document fits, in a third of the time; false for those that it cannot judge."""
        return object_check(self.rules, self._required, _check)

    @cached_property
    def _required(self) -> frozenset[str]:
        return frozenset(self.rules) & _MUST_EXIST

    @cached_property
    def _checks(self) -> dict[str, Callable[[Any], bool]]:
        return {name: _check(rule, name not in _MUST_EXIST) for name, rule in self.rules.items()}


@lru_cache(1000)
def of(names: frozenset[str] | None = None) -> Fitness:
    """Return the rules for some fields, by their stored names, and for the id; None for all fields."""
    return Fitness(_ALL if names is None else {name: rule for name, rule in _ALL.items() if name in names | {f.ID}})


def of_projection(projection: Iterable[str] | None) -> Fitness:
    """Return the rules for the fields that a projection reads; None for all fields."""
    return of(None if projection is None else frozenset(projection))


WHOLE = of()
"""The rules that a record has to keep to be shown to clients."""
LIFECYCLE = Fitness(_LIFECYCLE)
"""The rules that a record has to keep to be run, and that the validator of the collection checks."""
IN_EVENTS = of(frozenset(_ALL) - frozenset(f.LAZY))
"""The rules for the fields that every event has decoded."""
CORE = of(frozenset({f.REVISION, f.STATUS, f.UPDATED_AT}))
"""The rules for what no record can be read without."""


def fitting(filter_: Mapping[str, Any], fitness: Fitness = LIFECYCLE) -> dict[str, Any]:
    """Return the filter that finds those of the tasks of another one that fit."""
    return {"$and": [dict(filter_), {"$jsonSchema": fitness.schema}]}


def not_fitting(filter_: Mapping[str, Any], fitness: Fitness = LIFECYCLE) -> dict[str, Any]:
    """Return the filter that finds those of the tasks of another one that do not fit."""
    return {"$and": [dict(filter_), {"$nor": [{"$jsonSchema": fitness.schema}]}]}


def _check(rule: Rule, may_be_absent: bool = False) -> Callable[[Any], bool]:
    if "enum" in rule:
        allowed = frozenset(rule["enum"])
        return lambda value: type(value) is str and value in allowed
    types = frozenset(type_ for name in rule["bsonType"] for type_ in _PYTHON_TYPES[name])
    types |= {_NULL} if may_be_absent else set()
    if "minimum" in rule:
        return _number_check(types, rule["minimum"], rule["maximum"])
    if "items" in rule:
        accepts = _check(rule["items"])
        return lambda value: type(value) in types and all(map(accepts, value or ()))
    if "properties" in rule:
        return _object_check(types, rule["properties"], rule.get("required", ()))
    return lambda value: type(value) in types


def _number_check(types: frozenset[type], minimum: int, maximum: int) -> Callable[[Any], bool]:
    def accepts(value: Any) -> bool:
        return type(value) in types and (value is None or (minimum <= value <= maximum and value % 1 == 0))

    return accepts


def _object_check(
    types: frozenset[type], properties: Mapping[str, Rule], required: Sequence[str]
) -> Callable[[Any], bool]:
    checks = [(name, _check(rule, name not in required)) for name, rule in properties.items()]

    def accepts(value: Any) -> bool:
        if value is None:
            return _NULL in types
        return isinstance(value, dict) and all(accepts_field(value.get(name)) for name, accepts_field in checks)

    return accepts


def _problem(value: Any, rule: Rule) -> str:
    if value is None:
        return "is missing"
    if "enum" in rule:
        return f"is none of {', '.join(rule['enum'])}"
    shown = dict.fromkeys(_SHOWN.get(name, f"of type {name}") for name in rule["bsonType"] if name not in _NOT_SHOWN)
    wanted = " or ".join(shown)
    if type(value) not in {type_ for name in rule["bsonType"] for type_ in _PYTHON_TYPES[name]}:
        return f"is not {wanted}, but a {type(value).__name__}"
    if "minimum" in rule:
        return f"is not {wanted} from {rule['minimum']} to {rule['maximum']}"
    return "has an element or a field of the wrong type"
