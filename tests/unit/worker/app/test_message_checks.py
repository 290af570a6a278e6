"""The checks of messages before Celery handles them."""

from __future__ import annotations

import base64
from datetime import UTC
from typing import Any

import pytest
from kombu.message import Message
from malformed import valid

from gql_api.worker.app.message_checks import message_problem


def _message(**headers: Any) -> Message:
    content = valid("an id", "add", **headers)
    return Message(  # type: ignore[no-untyped-call] # kombu has no types
        body=base64.b64decode(content["body"]),
        content_type=content["content-type"],
        content_encoding=content["content-encoding"],
        headers=content["headers"],
        accept=[content["content-type"]],
    )


@pytest.mark.parametrize("own", [{"metadata": "a text"}, {"metadata": [1]}, {"tenant": {"id": 1}}])
def test_headers_of_an_application_pass_whatever_they_are(own: dict[str, Any]) -> None:
    """Programs that are not adopted may have a header ``metadata`` too; the record leaves out one that is no object."""
    assert message_problem(_message(**own), UTC) is None


def test_a_header_of_celery_has_its_type() -> None:
    """Celery would raise an error that ends the worker."""
    assert message_problem(_message(timelimit="x"), UTC) == "timelimit: must be a list of two numbers of seconds"
