"""Which errors only mean that MongoDB is away for now."""

from __future__ import annotations

from pymongo.errors import ConnectionFailure, ExecutionTimeout, PyMongoError, WTimeoutError


def is_outage(error: BaseException | None) -> bool:
    """Whether the same operation may succeed later: no connection, no primary, or no answer in time."""
    if isinstance(error, ConnectionFailure | WTimeoutError | ExecutionTimeout | TimeoutError):
        return True
    return isinstance(error, PyMongoError) and (error.timeout or error.has_error_label("RetryableWriteError"))
