"""The texts for arguments in a message that is about to leave, where some of its arguments are hidden.

Celery puts ``argsrepr`` and ``kwargsrepr`` into a message, and workers put them into log lines and events. The sender
may give them, and a handler of ``before_task_publish`` may change them; else the redaction of the function decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gql_api.dispatch import HIDDEN_HEADER, TEXTS, texts_of
from gql_api.worker.backend.messages import UNKNOWN_TEXT, given_texts
from gql_api.worker.sending.recording_producer import Outgoing

if TYPE_CHECKING:
    from celery import Celery

    from gql_api.worker.backend.backend import Backend

# A header that does not leave this process: the texts that are not the sender's, by part.
_OWN_TEXTS = "gql_api_own_texts"


def note_texts(headers: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Note in the headers of a message which texts its sender has not given."""
    own = {part: headers[text] for part, text in TEXTS.items() if given.get(text) is None}
    if own:
        headers[_OWN_TEXTS] = own


def pop_own_texts(headers: dict[str, Any]) -> dict[str, str]:
    """Take what :func:`note_texts` noted out of the headers."""
    own: dict[str, str] = headers.pop(_OWN_TEXTS, {})
    return own


def inherited_texts(app: Celery, given: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts that the next message of a running task, of a retry or a replacement, has from its first one."""
    sender = app.current_worker_task
    if sender is None or sender.request.id != given["task_id"]:
        return {}
    request = sender.request
    is_same = request.task == given["name"]
    texts = given_texts(vars(request))
    return {
        TEXTS[part]: text if is_same else UNKNOWN_TEXT for part, text in texts.items() if given.get(TEXTS[part]) is None
    }


def redact_texts(backend: Backend, message: Any, own_texts: dict[str, str]) -> None:
    """Replace the texts of a message that are not its sender's by what the redaction of the function leaves."""
    redaction = backend.redaction_of(message.headers["task"])
    if redaction is None:
        return
    json_form, (args, kwargs, _) = backend.codec.json_form, message.body
    texts = texts_of(redaction.apply(json_form(args) or [], json_form(kwargs) or {}))
    replaced = {part: texts[text] for part, text in TEXTS.items() if part in own_texts}
    own_texts.update(replaced)
    message.headers.update({TEXTS[part]: text for part, text in replaced.items()})
    if message.sent_event is not None:
        message.sent_event.update(replaced)


def with_hidden_header(backend: Backend, outgoing: Outgoing, own_texts: Mapping[str, str]) -> Outgoing:
    """Return a message with the header that says which of its texts hide arguments, if any do."""
    headers = outgoing.headers
    given = [part for part, text in TEXTS.items() if headers.get(text) != own_texts.get(part)]
    if not given and backend.redaction_of(headers["task"]) is None:
        return outgoing
    return replace(outgoing, headers={**headers, HIDDEN_HEADER: given})
