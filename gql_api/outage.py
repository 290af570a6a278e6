"""The kinds of MongoDB errors that callers handle: outages, and documents that exist already."""

from __future__ import annotations

from pymongo.errors import BulkWriteError, ConnectionFailure, ExecutionTimeout, PyMongoError, WTimeoutError

_DUPLICATE_KEY = 11000


def is_outage(error: BaseException | None) -> bool:
    """Return whether an error means no connection, no primary or no answer in time: a retry may succeed."""
    if isinstance(error, ConnectionFailure | WTimeoutError | ExecutionTimeout | TimeoutError):
        return True
    return isinstance(error, PyMongoError) and (error.timeout or error.has_error_label("RetryableWriteError"))


def found_only_duplicates(error: BulkWriteError) -> bool:
    """Return whether a bulk write did all of its work but to insert documents that exist already."""
    details = error.details
    return not details["writeConcernErrors"] and all(e["code"] == _DUPLICATE_KEY for e in details["writeErrors"])
