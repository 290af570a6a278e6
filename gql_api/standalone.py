"""Log texts about a MongoDB that is not a replica set: a standalone server works, an uninitiated member does not."""

from __future__ import annotations

import logging

from pymongo.topology_description import TopologyDescription

logger = logging.getLogger(__name__)


def warn_if_standalone(topology: TopologyDescription) -> None:
    """Log one line if a client that has reached MongoDB found a standalone server.

    Such a server answers majority reads with writes that are not in its journal yet, and PyMongo does not repeat writes
    to it.
    """
    if _has(topology, "Standalone"):
        logger.warning(
            "MONGODB_URL names a standalone MongoDB server: lists may show changes that the server loses when it is "
            "killed. In production, start mongod with --replSet rs0 and run rs.initiate() once"
        )


def initiation_hint(topology: TopologyDescription) -> str:
    """Return what to do about a server that waits to become a replica set, to be added to an error; else nothing."""
    if _has(topology, "RSGhost"):
        return " (MongoDB runs with --replSet but is not initiated: if this lasts, run rs.initiate() on it once)"
    return ""


def _has(topology: TopologyDescription, server_type: str) -> bool:
    return any(server.server_type_name == server_type for server in topology.server_descriptions().values())
