"""Making one MongoDB server what records need: a replica set of one, with a user of its own for the application."""

from __future__ import annotations

import time
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri

from gql_api.settings import Settings

REPLICA_SET = "rs0"

_NOT_YET_INITIALIZED = 94
_ALREADY_INITIALIZED = 23
_USER_EXISTS = 51003


class SetupError(Exception):
    """The server cannot be made ready. The message says what to do."""


def initiate(url: str, member: str, name: str = REPLICA_SET, timeout: float = 60.0) -> None:
    """Make a server a replica set of one, and wait until it accepts writes. Harmless when it is one already.

    Args:
        url: where the server is, for someone who may configure it; a direct connection.
        member: the ``host:port`` under which clients will find it.
        name: the replica set's.
        timeout: in seconds.

    Raises:
        SetupError: it did not become ready in time.
    """
    deadline = time.monotonic() + timeout
    last: Exception | None = None
    with MongoClient[dict[str, Any]](url, directConnection=True, serverSelectionTimeoutMS=500) as client:
        while time.monotonic() < deadline:
            try:
                if client.admin.command("hello").get("isWritablePrimary"):
                    return
                _configure(client, name, member)
            except PyMongoError as error:
                last = error
            time.sleep(0.05)
    raise SetupError(f"MongoDB did not become ready within {timeout:g} seconds: {last}")


def setup(settings: Settings, admin_url: str, member: str, timeout: float) -> None:
    """Make a server the one that ``MONGODB_URL`` speaks of: its replica set, and its user with its password.

    Raises:
        SetupError: it cannot be done, or not in time.
    """
    wanted: dict[str, Any] = parse_uri(settings.mongodb_url)
    options = wanted["options"]
    initiate(admin_url, member, options.get("replicaSet", REPLICA_SET), timeout)
    if not wanted["username"]:
        return
    if options.get("authSource") != "admin":
        raise SetupError("MONGODB_URL has to say authSource=admin: that is where its user is made")
    account = {
        "pwd": wanted["password"],
        "roles": [{"role": "readWrite", "db": settings.mongodb_database}],
    }
    with MongoClient[dict[str, Any]](admin_url, directConnection=True) as client:
        try:
            client.admin.command("createUser", wanted["username"], **account)
        except OperationFailure as error:
            if error.code != _USER_EXISTS:
                raise SetupError(f"The user of MONGODB_URL could not be made: {error}") from error
            client.admin.command("updateUser", wanted["username"], **account)


def _configure(client: MongoClient[dict[str, Any]], name: str, member: str) -> None:
    try:
        config = client.admin.command("replSetGetConfig")["config"]
    except OperationFailure as error:
        if error.code != _NOT_YET_INITIALIZED:
            raise
        _initiate(client, name, member)
        return
    if len(config["members"]) == 1 and config["members"][0]["host"] != member:
        # The data was made under another address: a node that is not named in its own set never becomes primary.
        config["members"][0]["host"] = member
        config["version"] += 1
        client.admin.command("replSetReconfig", config, force=True)


def _initiate(client: MongoClient[dict[str, Any]], name: str, member: str) -> None:
    config = {"_id": name, "members": [{"_id": 0, "host": member}]}
    try:
        client.admin.command("replSetInitiate", config)
    except OperationFailure as error:
        if error.code != _ALREADY_INITIALIZED:
            raise
