"""The kinds of MongoDB errors that callers handle: outages, and documents that exist already."""

from __future__ import annotations

from collections.abc import Iterator

from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    CursorNotFound,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    WTimeoutError,
)

DUPLICATE_KEY = 11000

# Set by the server, or by PyMongo where it retries by itself.
_LABELS = ("RetryableWriteError", "TransientTransactionError", "RetryableError", "SystemOverloadedError")

# From MongoDB's src/mongo/base/error_codes.yml. PyMongo has classes for some of them, but not where the code is that of
# a write concern, or of one write among several: a primary that steps down after it has written answers so.
_OUTAGE_CODES = frozenset(
    {
        # No connection between servers.
        6,  # HostUnreachable
        7,  # HostNotFound
        89,  # NetworkTimeout
        202,  # NetworkInterfaceExceededTimeLimit
        9001,  # SocketException
        # No primary, or not this server any more.
        133,  # FailedToSatisfyReadPreference
        189,  # PrimarySteppedDown
        216,  # ElectionInProgress
        10058,  # LegacyNotPrimary
        10107,  # NotWritablePrimary
        11602,  # InterruptedDueToReplStateChange
        13435,  # NotPrimaryNoSecondaryOk
        13436,  # NotPrimaryOrSecondary
        # The server shuts down.
        91,  # ShutdownInProgress
        11600,  # InterruptedAtShutdown
        # Not in time, or no majority in time.
        50,  # MaxTimeMSExpired
        64,  # WriteConcernTimeout
        134,  # ReadConcernMajorityNotAvailableYet
        262,  # ExceededTimeLimit
        # Interrupted: another try begins from the start.
        43,  # CursorNotFound
        112,  # WriteConflict
        175,  # QueryPlanKilled
        237,  # CursorKilled
        11601,  # Interrupted
        # The server takes no writes at present.
        365,  # TemporarilyUnavailable
        371,  # UserWritesBlocked
        402,  # ResourceExhausted
        14031,  # OutOfDiskSpace
    }
)


def is_outage(error: BaseException | None) -> bool:
    """Return whether an error means no connection, no primary, no majority or no answer in time.

    A retry may succeed. The operation that failed may have been done, and may be rolled back yet.
    """
    if isinstance(error, ConnectionFailure | CursorNotFound | WTimeoutError | ExecutionTimeout | TimeoutError):
        return True
    if not isinstance(error, PyMongoError):
        return False
    return error.timeout or any(map(error.has_error_label, _LABELS)) or not _OUTAGE_CODES.isdisjoint(_codes(error))


def found_only_duplicates(error: BulkWriteError) -> bool:
    """Return whether a bulk write did all of its work but to insert documents that exist already."""
    details = error.details
    return not details["writeConcernErrors"] and all(e["code"] == DUPLICATE_KEY for e in details["writeErrors"])


def _codes(error: PyMongoError) -> Iterator[int | None]:
    if isinstance(error, OperationFailure):
        yield error.code
    if isinstance(error, BulkWriteError):
        for kind in ("writeErrors", "writeConcernErrors"):
            yield from (each.get("code") for each in error.details.get(kind, ()))
