"""The values of tasks in two forms: the Python values that Celery hands over, and the JSON values of the records."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from gql_api import values
from gql_api.record.reads import TaskRecord
from gql_api.worker.backend.translation import celery_meta

Meta = dict[str, Any]


class Codec:
    """Celery's serializer between Python and JSON values.

    Args:
        encode: Celery's, to JSON text.
        decode: Celery's, from JSON text.
        meta_from_decoded: Celery's, which makes exceptions of what is stored of them.
    """

    def __init__(
        self, encode: Callable[[Any], Any], decode: Callable[[str], Any], meta_from_decoded: Callable[[Meta], Meta]
    ) -> None:
        self._encode = encode
        self._decode = decode
        self._meta_from_decoded = meta_from_decoded

    def json_form(self, value: Any) -> Any:
        """Return the JSON value that Celery's serializer makes of a Python value.

        Raises:
            EncodeError: it makes none.
        """
        return None if value is None else json.loads(self._encode(value))

    def plain_form(self, value: Any) -> Any:
        """Return the plain JSON value of a Python value, for metadata, which filters compare and clients change.

        Raises:
            EncodeError: Celery's serializer makes no JSON value of it.
        """
        return values.plain(self.json_form(value))

    def python_form(self, value: Any) -> Any:
        """Return the Python value that Celery's serializer makes of a JSON value."""
        return None if value is None else self._decode(json.dumps(value))

    def meta(self, task_id: str, record: TaskRecord | None) -> Meta:
        """Return what Celery's ``AsyncResult`` reads of a task."""
        return self._meta_from_decoded(celery_meta(task_id, record, self.python_form))
