"""The validator of the collection of tasks: MongoDB refuses writes of records that break the rules for the lifecycle.

The rules ask only for what all versions have written, so that processes of several versions can run side by side. A
record that broke them before may still be changed (``validationLevel: moderate``), for example by a repair.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pymongo.errors import OperationFailure

from gql_api.outage import is_outage
from gql_api.record import fields as f
from gql_api.record.fitness import rules
from gql_api.record.reads import Document

# A validator of a lower version is replaced; see upgrading.md.
_VERSION = 1
_TITLE = "gql-api task record, version "
_TITLE_PATTERN = re.compile(rf"{_TITLE}(\d+)")
_COLLECTION_EXISTS = 48

VALIDATOR: Document = {"$jsonSchema": {"title": f"{_TITLE}{_VERSION}", **rules.LIFECYCLE.schema}}

FIND = {"name": f.TASKS}
"""The filter that finds the collection among the collections of the database."""


def command(found: Sequence[Mapping[str, Any]]) -> Document | None:
    """Return the command that sets the validator; None when the collection, if it was found, needs none.

    A collection keeps a validator of a later version, and one that is not ours.
    """
    options = {"validator": VALIDATOR, "validationLevel": "moderate", "validationAction": "error"}
    if not found:
        return {"create": f.TASKS, **options}
    current = found[0].get("options", {}).get("validator")
    if not current:
        return {"collMod": f.TASKS, **options}
    title = _TITLE_PATTERN.fullmatch(str(_title_of(current)))
    return {"collMod": f.TASKS, **options} if title is not None and int(title[1]) < _VERSION else None


def hint(error: OperationFailure) -> str | None:
    """Return the line of log for a command that MongoDB refused; None if another process was faster.

    Raises:
        OperationFailure: it is an outage.
    """
    if is_outage(error):
        raise error
    if error.code == _COLLECTION_EXISTS:
        return None
    return (
        f"MongoDB does not check the records of tasks, for it refused the validator of their collection: {error}. "
        'Run "gql-api setup-mongodb", or grant the action collMod to the user of MONGODB_URL'
    )


def _title_of(validator: Any) -> Any:
    schema = validator.get("$jsonSchema") if isinstance(validator, dict) else None
    return schema.get("title") if isinstance(schema, dict) else None
