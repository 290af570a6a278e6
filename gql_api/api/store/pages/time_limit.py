"""The time that MongoDB may take for a list."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pymongo
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import ExecutionTimeout, NetworkTimeout

from gql_api.api.errors import QUERY_TIMEOUT, ClientError
from gql_api.record.reads import Document


class TimeLimit:
    """The time limit of one list, which MongoDB enforces.

    Args:
        tasks: the collection.
        seconds: how long a query may take.
    """

    def __init__(self, tasks: AsyncCollection[Document], seconds: float) -> None:
        self._tasks = tasks
        self._seconds = seconds

    @contextlib.asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        """Let the queries in the block take so long together.

        Raises:
            ClientError: with the code QUERY_TIMEOUT, they took longer.
        """
        try:
            with pymongo.timeout(self._seconds):
                yield
        except (ExecutionTimeout, NetworkTimeout) as error:
            if isinstance(error, NetworkTimeout):
                # MongoDB or its client may notice the timeout first. If MongoDB is down, the ping raises the error.
                await self._tasks.database.command("ping")
            message = (
                f"The query takes longer than {self._seconds:g} s: use a filter with an index, or select fewer tasks"
            )
            raise ClientError(message, QUERY_TIMEOUT) from error
