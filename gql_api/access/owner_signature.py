"""The signed header by which a program that is not adopted names the owner of a task that it sends.

A worker takes the owner from the header only if the program has ``ACCESS_SECRET``, and only for the task that the
header was made for. The module needs nothing but the standard library, so that any program can import it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from typing import Any, NamedTuple

HEADER = "gql_api_owner"
MIN_SECRET_LENGTH = 32
MAX_LENGTH = 1024
"""The number of characters that an owner or a tenant has at most."""

_VERSION = "v1"
# Access tokens are signed with the same secret, by another key.
_PURPOSE = b"gql-api: the owner of a task, v1"
_PARTS = 3
_FIELDS = 4
# The ids and names of tasks have as many characters as owners at most, and JSON escapes each by twelve.
_MAX_HEADER = 80_000


class Owner(NamedTuple):
    """The subject that a task belongs to, and the tenant of the subject. A task of nobody is for administrators."""

    subject: str | None = None
    tenant: str | None = None


NOBODY = Owner()


class OwnerError(ValueError):
    """An owner that cannot be taken from a header. Its text has no part of the header."""


def checked(owner: Any, tenant: Any) -> Owner:
    """Return an owner and its tenant as they are stored.

    Raises:
        TypeError: one of them is not a text.
        ValueError: one of them is empty or too long, or cannot be stored.
    """
    for name, value in (("owner", owner), ("tenant", tenant)):
        if value is None:
            continue
        if not isinstance(value, str):
            raise TypeError(f"{name}: must be a text, got {type(value).__name__}")
        if not _is_storable(value):
            raise ValueError(f"{name}: must be a text of 1 to {MAX_LENGTH} characters")
    return Owner(owner, tenant)


def owner_headers(
    task_id: str, task_name: str, owner: str, tenant: str | None = None, *, secret: str
) -> dict[str, str]:
    """Return the header that gives a task its owner: ``apply_async(task_id=..., headers=owner_headers(...))``.

    Args:
        task_id: the id of the task. The header is valid for this task only.
        task_name: the name of its function.
        owner: the subject that it belongs to, as the tokens of the API name it.
        tenant: the tenant of the subject, if there are tenants.
        secret: ``ACCESS_SECRET`` of the workers. Of two secrets with a comma between, the first one signs.

    Raises:
        TypeError: the owner or the tenant is not a text.
        ValueError: one of the values cannot be used.
    """
    return OwnerKeys(secret).headers(task_id, task_name, checked(owner, tenant))


class OwnerKeys:
    """The keys that sign and verify owners, one for each secret.

    Args:
        secret: the value of ``ACCESS_SECRET``: no secret, one, or several with commas between.

    Raises:
        ValueError: a secret is too short.
    """

    def __init__(self, secret: str) -> None:
        secrets = [part.strip() for part in secret.split(",")] if secret.strip() else []
        if any(len(part) < MIN_SECRET_LENGTH for part in secrets):
            raise ValueError(f"ACCESS_SECRET: each secret must have at least {MIN_SECRET_LENGTH} characters")
        self._keys = [hmac.digest(part.encode(), _PURPOSE, hashlib.sha256) for part in secrets]

    def __bool__(self) -> bool:
        return bool(self._keys)

    def headers(self, task_id: str, task_name: str, owner: Owner) -> dict[str, str]:
        """Return the header for a task, signed with the first key.

        Raises:
            ValueError: there is no secret.
        """
        if not self._keys:
            raise ValueError("ACCESS_SECRET: a secret is required to sign the owner of a task")
        payload = base64.urlsafe_b64encode(json.dumps([task_id, task_name, *owner]).encode()).decode()
        signed = f"{_VERSION}.{payload}"
        return {HEADER: f"{signed}.{_signature(self._keys[0], signed)}"}

    def owner(self, value: Any, task_id: str, task_name: str) -> Owner:
        """Return the owner that a header names for a task.

        Raises:
            OwnerError: the header is malformed, is signed with no known key, or was made for another task.
        """
        if not self._keys:
            raise OwnerError("ACCESS_SECRET is not set here, so the owner cannot be verified")
        parts = value.split(".") if isinstance(value, str) and value.isascii() and len(value) <= _MAX_HEADER else []
        if len(parts) != _PARTS or parts[0] != _VERSION:
            raise OwnerError("the owner is not in a known format")
        signed, given = f"{parts[0]}.{parts[1]}", parts[2]
        # Each key takes part, so that the time does not tell which one it was.
        if not sum(hmac.compare_digest(_signature(key, signed), given) for key in self._keys):
            raise OwnerError("the owner has no valid signature")
        return _owner_in(parts[1], task_id, task_name)


def _signature(key: bytes, signed: str) -> str:
    return hmac.new(key, signed.encode(), hashlib.sha256).hexdigest()


def _owner_in(payload: str, task_id: str, task_name: str) -> Owner:
    """Return the owner in a payload whose signature is valid."""
    try:
        fields = json.loads(base64.urlsafe_b64decode(payload))
    except (binascii.Error, ValueError, RecursionError):
        fields = None
    if not isinstance(fields, list) or len(fields) != _FIELDS:
        raise OwnerError("the owner is not in a known format")
    if fields[:2] != [task_id, task_name]:
        raise OwnerError("the owner was signed for another task")
    try:
        return checked(*fields[2:])
    except (TypeError, ValueError) as error:
        raise OwnerError(str(error)) from None


def _is_storable(text: str) -> bool:
    return 0 < len(text) <= MAX_LENGTH and "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)
