"""The codes of outages, by the names that MongoDB itself has for them."""

from __future__ import annotations

from pathlib import Path

from ports import free_port
from pymongo import MongoClient
from pymongo.errors import AutoReconnect, OperationFailure
from support import process, wait_until

from gql_api.cli.embedded_servers import MongodbServer, is_listening
from gql_api.outage import _OUTAGE_CODES

_NAMES = {
    "HostUnreachable", "HostNotFound", "NetworkTimeout", "NetworkInterfaceExceededTimeLimit", "SocketException",
    "FailedToSatisfyReadPreference", "PrimarySteppedDown", "ElectionInProgress", "LegacyNotPrimary",
    "NotWritablePrimary", "InterruptedDueToReplStateChange", "NotPrimaryNoSecondaryOk", "NotPrimaryOrSecondary",
    "ShutdownInProgress", "InterruptedAtShutdown", "MaxTimeMSExpired", "WriteConcernTimeout",
    "ReadConcernMajorityNotAvailableYet", "ExceededTimeLimit", "CursorNotFound", "WriteConflict", "QueryPlanKilled",
    "CursorKilled", "Interrupted", "TemporarilyUnavailable", "UserWritesBlocked", "ResourceExhausted",
    "OutOfDiskSpace",
}  # fmt: skip

# What earlier versions of MongoDB answer instead.
_EARLIER = {"WriteConcernFailed": "WriteConcernTimeout", "Location402": "ResourceExhausted"}


def test_the_codes_have_the_names_that_are_meant(tmp_path: Path) -> None:
    """A server that fails with each of the codes names what is written beside it."""
    server = MongodbServer(tmp_path / "mongodb", free_port())
    command = [*server.command(tmp_path / "mongod.log"), "--setParameter=enableTestCommands=1"]
    with process(command, tmp_path / "log"):
        wait_until(lambda: is_listening(server.port))
        server.initiate()
        names = {_EARLIER.get(name := _name(server.url, code), name) for code in _OUTAGE_CODES}
    assert names == _NAMES


def _name(url: str, code: int) -> str:
    fault = {"failCommands": ["find"], "errorCode": code}
    # A client that has met such an error waits for its next look at the server: a new one does not.
    with MongoClient[dict[str, object]](url, retryReads=False) as client:
        client.admin.command("configureFailPoint", "failCommand", mode={"times": 1}, data=fault)
        try:
            client["test"]["test"].find_one()
        except OperationFailure as error:
            return str((error.details or {})["codeName"])
        except AutoReconnect as error:
            # Its details may be the errors of several servers instead.
            return str(error.details["codeName"] if isinstance(error.details, dict) else error)
    raise AssertionError(f"{code} was not raised")
