"""The results of an adopted application, whose ids are texts."""

from __future__ import annotations

from typing import Any

from celery import result

from gql_api.worker.backend.messages import text_id


class AsyncResult(result.AsyncResult):
    """Celery's result, for an id of any type: its task is recorded under the text of the id."""

    def __init__(self, id: Any, *args: Any, **kwargs: Any) -> None:  # noqa: A002 - Celery's signature
        super().__init__(text_id(id), *args, **kwargs)
