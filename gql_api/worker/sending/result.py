"""The results of an adopted application, whose ids are texts."""

from __future__ import annotations

from typing import Any

from celery import result

from gql_api.worker.backend.backend import Backend
from gql_api.worker.backend.messages import text_id
from gql_api.worker.state.unrecorded import is_unrecorded_function


class AsyncResult(result.AsyncResult):
    """Celery's result, for an id of any type: its task is recorded under the text of the id."""

    def __init__(self, id: Any, backend: Any = None, task_name: str | None = None, *args: Any, **kwargs: Any) -> None:  # noqa: A002 - Celery's signature
        super().__init__(text_id(id), backend, task_name, *args, **kwargs)
        self.function_name = task_name
        """The task function, if the program knows it."""

    def get(self, *args: Any, **kwargs: Any) -> Any:
        """Wait for the result as Celery does.

        Raises:
            NotImplementedError: the task is not recorded, so there will be no result. Celery raises the same error
                where no task has a result.
        """
        if not self.ignored and self._has_no_result():
            raise NotImplementedError(
                f"task {self.function_name}: it is not recorded (record=False), so it has no result to wait for"
            )
        return super().get(*args, **kwargs)

    def _has_no_result(self) -> bool:
        # A stock result backend has the results of such tasks too.
        if not is_unrecorded_function(self.app, self.function_name) or not isinstance(self.backend, Backend):
            return False
        stock = self.backend.stock
        return not (stock is not None and stock.has_results) and not self.backend.task_result_exists(self.id)
