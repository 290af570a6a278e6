"""The validator of the collection of tasks, for a worker that starts before the API."""

from __future__ import annotations

import logging

from pymongo.database import Database
from pymongo.errors import OperationFailure

from gql_api.record.protection import validator
from gql_api.record.reads import Document

logger = logging.getLogger(__name__)


def protect(database: Database[Document]) -> None:
    """Let MongoDB check the records. A user who may not change that goes on without.

    Raises:
        PyMongoError: MongoDB does not answer.
    """
    try:
        command = validator.command(list(database.list_collections(filter=validator.FIND)))
        if command is not None:
            database.command(command)
    except OperationFailure as error:
        if (hint := validator.hint(error)) is not None:
            logger.warning(hint)
