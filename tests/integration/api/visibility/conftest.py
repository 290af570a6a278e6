"""The world of the walk: tasks of all principals, which are related across their owners."""

from __future__ import annotations

import pytest
from front import Commands, Front
from pymongo.collection import Collection
from world import World, make_tasks

from gql_api.record.reads import Document
from gql_api.registry.definitions import TaskDefinition
from gql_api.worker.store.tasks import Store


@pytest.fixture
def world(
    commands: Commands,  # before the API opens its store
    front: Front,
    worker: Store,
    tasks: Collection[Document],
    announced: TaskDefinition,
) -> World:
    """Make the tasks, whose function a worker has announced."""
    assert announced.name == "add"
    make_tasks(worker, tasks)
    commands.of_operations_only = True
    return World(front, tasks, commands)
