"""The servers that the tests of one process share."""

from __future__ import annotations

from dataclasses import dataclass

from gql_api.cli.embedded_servers import MongodbServer, RedisServer


@dataclass(frozen=True)
class Databases:
    """A running MongoDB and a running Redis."""

    mongodb: MongodbServer
    redis: RedisServer
