"""Records that do not fit, as reads of the API find them: they are logged, counted, and left out or refused."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from gql_api.api.errors import InvalidRecordError
from gql_api.record import fields
from gql_api.record.fitness import rules
from gql_api.record.fitness.rules import Fitness, Misfit
from gql_api.record.queries import WHOLE, Part
from gql_api.record.reads import Document, TaskRecord
from gql_api.telemetry.counters import MISFITS

logger = logging.getLogger(__name__)

Row = TypeVar("Row")

# The ids of the records that were logged last.
_MAX_LOGGED = 10_000
_MAX_READS = 5
_logged: OrderedDict[str, None] = OrderedDict()


def note(document: Document, misfit: Misfit) -> None:
    """Log a record that does not fit, and count it, unless this process has done so before."""
    task_id = repr(document.get(fields.ID))
    if task_id in _logged:
        return
    _logged[task_id] = None
    if len(_logged) > _MAX_LOGGED:
        _logged.popitem(last=False)
    MISFITS.inc()
    logger.error('The record of task %s does not fit: %s. "gql-api doctor" lists such records', task_id, misfit)


def fitting(documents: Iterable[Document], fitness: Fitness) -> list[Document]:
    """Return the documents that fit."""
    fit = []
    for document in documents:
        misfit = fitness.first_misfit(document)
        if misfit is None:
            fit.append(document)
        else:
            note(document, misfit)
    return fit


def records(documents: Iterable[Document], part: Part = WHOLE) -> list[TaskRecord]:
    """Return the records of the documents that fit."""
    return [part.record(document) for document in fitting(documents, part.fitness)]


def record_or_error(document: Document, part: Part = WHOLE) -> TaskRecord | InvalidRecordError:
    """Return the record of a document, or the error of a reader that needs it."""
    misfit = part.fitness.first_misfit(document)
    if misfit is None:
        return part.record(document)
    note(document, misfit)
    return InvalidRecordError(document[fields.ID], misfit)


def record(document: Document) -> TaskRecord:
    """Return the record of a document.

    Raises:
        InvalidRecordError: it does not fit.
    """
    found = record_or_error(document)
    if isinstance(found, InvalidRecordError):
        raise found
    return found


async def read_page(
    read: Callable[[Document], Awaitable[list[Row]]], fitness: Fitness, document_of: Callable[[Row], Document]
) -> list[Row]:
    """Read a page without the records that do not fit.

    A page that has any is read again without them, so that it is as long as if they did not exist.

    Args:
        read: reads the rows of the page that match one more query.
        fitness: the rules for the fields that are read.
        document_of: returns the document in a row.
    """
    narrower: Document = {}
    for reads_left in reversed(range(_MAX_READS)):
        rows = await read(narrower)
        documents = [document_of(row) for row in rows]
        fit = {id(document) for document in fitting(documents, fitness)}
        if len(fit) == len(rows) or not reads_left:
            break
        # The schema leaves out nearly all. The few that only the check in Python refuses are left out by their ids.
        ids = [document[fields.ID] for document in documents if id(document) not in fit]
        narrower = {"$and": [narrower, {fields.ID: {"$nin": ids}}]} if narrower else rules.fitting({}, fitness)
    return [row for row, document in zip(rows, documents, strict=True) if id(document) in fit]
