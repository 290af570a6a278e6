"""Outages: the errors that only mean that MongoDB does not answer at the moment."""

from __future__ import annotations

from pymongo.errors import ConnectionFailure, ExecutionTimeout, PyMongoError, WTimeoutError


def is_outage(error: BaseException | None) -> bool:
    """Return whether an error means no connection, no primary or no answer in time: a retry may succeed."""
    if isinstance(error, ConnectionFailure | WTimeoutError | ExecutionTimeout | TimeoutError):
        return True
    return isinstance(error, PyMongoError) and (error.timeout or error.has_error_label("RetryableWriteError"))
