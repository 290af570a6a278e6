"""The setup of one MongoDB server: a replica set of one node, with a user of its own for the application."""

from __future__ import annotations

import time
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri

from gql_api.record.protection import validator
from gql_api.settings import Settings

REPLICA_SET = "rs0"

_NOT_YET_INITIALIZED = 94
_ALREADY_INITIALIZED = 23
_USER_EXISTS = 51003


class SetupError(Exception):
    """The server cannot be set up. The message has the reason."""


def initiate(url: str, member: str, name: str = REPLICA_SET, timeout: float = 60.0) -> None:
    """Make a server a replica set of one node, and wait until it accepts writes. Safe to repeat.

    Args:
        url: the URL of the server, for a direct connection with an administrator's credentials.
        member: the ``host:port`` that clients connect to.
        name: the name of the replica set.
        timeout: in seconds.

    Raises:
        SetupError: the server did not become ready in time.
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
    """Set up the server of ``MONGODB_URL``: its replica set, and its user with its password.

    Raises:
        SetupError: the setup failed, or took too long.
    """
    target: dict[str, Any] = parse_uri(settings.mongodb_url)
    options = target["options"]
    initiate(admin_url, member, options.get("replicaSet", REPLICA_SET), timeout)
    _protect(admin_url, settings.mongodb_database)
    if not target["username"]:
        return
    if options.get("authSource") != "admin":
        raise SetupError("MONGODB_URL must contain authSource=admin: its user is created in the database admin")
    account = {
        "pwd": target["password"],
        "roles": [{"role": "readWrite", "db": settings.mongodb_database}],
    }
    with MongoClient[dict[str, Any]](admin_url, directConnection=True) as client:
        try:
            client.admin.command("createUser", target["username"], **account)
        except OperationFailure as error:
            if error.code != _USER_EXISTS:
                raise SetupError(f"The user of MONGODB_URL could not be created: {error}") from error
            client.admin.command("updateUser", target["username"], **account)


def _protect(admin_url: str, database: str) -> None:
    """Set the validator of the tasks, which the user of ``MONGODB_URL`` may set for a new collection only."""
    with MongoClient[dict[str, Any]](admin_url, directConnection=True) as client:
        found = list(client[database].list_collections(filter=validator.FIND))
        command = validator.command(found)
        try:
            if command is not None:
                client[database].command(command)
        except PyMongoError as error:
            raise SetupError(f"The validator of the tasks could not be set: {error}") from error


def _configure(client: MongoClient[dict[str, Any]], name: str, member: str) -> None:
    try:
        config = client.admin.command("replSetGetConfig")["config"]
    except OperationFailure as error:
        if error.code != _NOT_YET_INITIALIZED:
            raise
        _initiate(client, name, member)
        return
    if len(config["members"]) == 1 and config["members"][0]["host"] != member:
        # The data is from a server with another address: a node that is not a member of its own set never becomes
        # primary.
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
