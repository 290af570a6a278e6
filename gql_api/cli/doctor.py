"""The search for records that do not fit, with their repair, export and deletion."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bson import json_util
from bson.codec_options import DatetimeConversion
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import PyMongoError

from gql_api.record import fields
from gql_api.record.fitness import rules
from gql_api.record.protection import repairs
from gql_api.record.reads import CODEC, Document
from gql_api.settings import Settings


class DoctorError(Exception):
    """The records cannot be examined, exported or changed. The message has the reason."""


@dataclass(frozen=True, slots=True)
class Actions:
    """The actions on records that do not fit."""

    repair: bool = False
    export: Path | None = None
    delete: bool = False


def run(settings: Settings, actions: Actions, show: Callable[[str], None]) -> int:
    """List the records that do not fit, and act on them; return the number of those that are left.

    Raises:
        DoctorError: MongoDB does not answer or refuses an action, or the file cannot be written.
    """
    timeout_ms = round(settings.store_timeout_seconds * 1000)
    try:
        with MongoClient[Document](
            settings.mongodb_url, serverSelectionTimeoutMS=timeout_ms, w="majority", appname="gql-api doctor"
        ) as client:
            database = client[settings.mongodb_database]
            # Times that Python does not have are exported as they are.
            exact = CODEC.with_options(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
            return _examine(database.get_collection(fields.TASKS, codec_options=exact), actions, show)
    except (PyMongoError, OSError) as error:
        raise DoctorError(str(error)) from error


def _examine(tasks: Collection[Document], actions: Actions, show: Callable[[str], None]) -> int:
    found = left = 0
    # A file that exists may have the only copy of records that an earlier call has deleted.
    with contextlib.nullcontext() if actions.export is None else actions.export.open("x") as file:
        for document in _misfits(tasks):
            found += 1
            misfits = rules.WHOLE.misfits(document)
            for misfit in misfits:
                show(f"{document[fields.ID]!r}  {misfit}")
            if not misfits:
                show(f"{document[fields.ID]!r}  is set aside")
            if file is not None:
                file.write(json_util.dumps(document, json_options=json_util.CANONICAL_JSON_OPTIONS) + "\n")
                file.flush()
                if actions.delete:
                    # The file is soon the only copy.
                    os.fsync(file.fileno())
            left += not _act(tasks, document, actions, show)
    show(f"{found} records do not fit, {left} are left")
    return left


def _misfits(tasks: Collection[Document]) -> Iterator[Document]:
    set_aside = {fields.SET_ASIDE: {"$exists": True}}
    query = {"$or": [set_aside, rules.not_fitting({}, rules.WHOLE)]}
    yield from tasks.find(query).sort(fields.ID)


def _act(tasks: Collection[Document], document: Document, actions: Actions, show: Callable[[str], None]) -> bool:
    """Act on a record, and return whether that has solved its problem."""
    name: Any = document[fields.ID]
    if actions.repair:
        repaired, left = repairs.repair(document)
        if not left:
            if tasks.update_one(*repairs.save(document, repaired)).matched_count:
                show(f"{name!r}  was repaired")
                return True
            show(f"{name!r}  has changed meanwhile: run the command again")
            return False
        show(f"{name!r}  cannot be repaired: {'; '.join(map(str, left))}")
    if actions.delete:
        return tasks.delete_one(repairs.unchanged(document)).deleted_count > 0
    return False
