"""Which errors of MongoDB mean that a retry may succeed."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    CursorNotFound,
    DocumentTooLarge,
    DuplicateKeyError,
    ExecutionTimeout,
    InvalidOperation,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WriteConcernError,
    WriteError,
    WTimeoutError,
)
from pymongo.helpers_shared import _RETRYABLE_ERROR_CODES

from gql_api.outage import found_only_duplicates, is_outage

_INTERRUPTED = {"code": 11602, "codeName": "InterruptedDueToReplStateChange", "errmsg": "operation was interrupted"}
_DUPLICATE = {"code": 11000, "errmsg": "E11000 duplicate key error", "index": 0}
_TOO_LARGE = {"code": 17419, "errmsg": "too large", "index": 0}

# BadValue, Unauthorized, NamespaceNotFound, UnsatisfiableWriteConcern, DuplicateKey, BSONObjectTooLarge.
_OTHER_CODES = (2, 13, 26, 100, 11000, 17419, None)


def _failure(code: int | None, *labels: str) -> OperationFailure:
    return OperationFailure("x", code, {"errorLabels": list(labels)})


def _bulk(write_errors: list[Any], write_concern_errors: list[Any]) -> BulkWriteError:
    return BulkWriteError({"writeErrors": write_errors, "writeConcernErrors": write_concern_errors})


@pytest.mark.parametrize("kind", [OperationFailure, WriteConcernError, WriteError])
@pytest.mark.parametrize("code", sorted(_RETRYABLE_ERROR_CODES))
def test_what_pymongo_retries_is_an_outage_in_every_class(kind: type[OperationFailure], code: int) -> None:
    """The same code comes as the error of a command, of a write or of a write concern."""
    assert is_outage(kind("x", code, {"code": code}))


@pytest.mark.parametrize("code", _OTHER_CODES)
def test_other_codes_are_not(code: int | None) -> None:
    """A retry would fail again."""
    assert not is_outage(_failure(code))


@pytest.mark.parametrize(
    "label", ["RetryableWriteError", "TransientTransactionError", "RetryableError", "SystemOverloadedError"]
)
def test_a_label_is_an_outage_whatever_the_code(label: str) -> None:
    """Labels name what a driver may retry, with codes that this version does not know."""
    assert is_outage(_failure(99999, label))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (AutoReconnect("x"), True),
        (NetworkTimeout("x"), True),
        (NotPrimaryError("x"), True),
        (ServerSelectionTimeoutError("x"), True),
        (WaitQueueTimeoutError("x"), True),
        (CursorNotFound("x"), True),
        (ExecutionTimeout("x", 50), True),
        (WTimeoutError("x", 64), True),
        (TimeoutError(), True),
        (DuplicateKeyError("x", 11000), False),
        (DocumentTooLarge("x"), False),
        (InvalidOperation("x"), False),
        (ValueError("x"), False),
        (None, False),
    ],
    ids=repr,
)
def test_classes(error: BaseException | None, expected: bool) -> None:
    """No connection, no primary and no answer in time are outages, refused writes and mistakes are not."""
    assert is_outage(error) is expected


@pytest.mark.parametrize(
    ("error", "outage", "only_duplicates"),
    [
        (_bulk([], [_INTERRUPTED]), True, False),
        (_bulk([_INTERRUPTED], []), True, False),
        (_bulk([_DUPLICATE], [_INTERRUPTED]), True, False),
        (_bulk([_DUPLICATE, _DUPLICATE], []), False, True),
        (_bulk([_TOO_LARGE], []), False, False),
    ],
)
def test_bulk_writes(error: BulkWriteError, outage: bool, only_duplicates: bool) -> None:
    """A bulk write fails with the errors of its writes and of its write concern; duplicates may be rolled back yet."""
    assert (is_outage(error), found_only_duplicates(error)) == (outage, only_duplicates)
