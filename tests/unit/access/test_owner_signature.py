"""The signed header by which programs that are not adopted name the owners of tasks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import sys
from typing import Any

import pytest
from support import ROOT

from gql_api.access.owner_signature import HEADER, MAX_LENGTH, NOBODY, Owner, OwnerError, OwnerKeys, owner_headers

_OLD, _NEW = "o" * 32, "n" * 32
_KEYS = OwnerKeys(_OLD)


def _signed(owner: str = "alice", tenant: str | None = "acme", secret: str = _OLD) -> str:
    return owner_headers("id-1", "shop.price", owner, tenant, secret=secret)[HEADER]


@pytest.mark.parametrize("owner", [Owner("alice", "acme"), Owner("alice"), Owner("Zoë 💡 $a.b\n", "日本")])
def test_an_owner_is_read_back(owner: Owner) -> None:
    """Owner and tenant come out of the header as they went in, of any text."""
    assert owner.subject is not None
    value = owner_headers("id-1", "shop.price", owner.subject, owner.tenant, secret=_OLD)[HEADER]
    assert _KEYS.owner(value, "id-1", "shop.price") == owner


@pytest.mark.parametrize("task", [("id-2", "shop.price"), ("id-1", "shop.refund"), ("id-1shop", ".price"), ("", "")])
def test_a_header_is_of_one_task(task: tuple[str, str]) -> None:
    """Copied to a message of another id or another function, it is refused."""
    with pytest.raises(OwnerError, match="signed for another task"):
        _KEYS.owner(_signed(), *task)


def test_no_part_can_be_changed() -> None:
    """A change of any one character makes the header invalid."""
    value = _signed()
    changed = [value[:i] + ("A" if value[i] != "A" else "B") + value[i + 1 :] for i in range(len(value))]
    for forged in changed:
        with pytest.raises(OwnerError):
            _KEYS.owner(forged, "id-1", "shop.price")


def test_a_signature_of_another_owner_does_not_fit() -> None:
    """The payload of one header and the signature of another are no header."""
    payload, signature = _signed("mallory").rsplit(".", 1)[0], _signed("alice").rsplit(".", 1)[1]
    with pytest.raises(OwnerError, match="no valid signature"):
        _KEYS.owner(f"{payload}.{signature}", "id-1", "shop.price")


@pytest.mark.parametrize(
    "value",
    [
        "",
        ".",
        "v1..",
        "v2" + _signed()[2:],
        "é",
        1,
        True,
        [],
        {},
        ["v1"],
        b"v1",
        "v1." + "A" * 100_000,
        _signed() + ".",
    ],
)
def test_what_is_no_header_is_refused(value: Any) -> None:
    """A message may have anything in the header."""
    with pytest.raises(OwnerError):
        _KEYS.owner(value, "id-1", "shop.price")


@pytest.mark.parametrize("fields", [[], {}, "x", ["id-1", "shop.price", "a"], ["id-1", "shop.price", 1, None]])
def test_a_payload_is_checked_even_if_it_is_signed(fields: Any) -> None:
    """A program of the deployment may sign a wrong payload."""
    key = hmac.digest(_OLD.encode(), b"gql-api: the owner of a task, v1", hashlib.sha256)
    signed = f"v1.{base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()}"
    value = f"{signed}.{hmac.new(key, signed.encode(), hashlib.sha256).hexdigest()}"
    with pytest.raises(OwnerError):
        _KEYS.owner(value, "id-1", "shop.price")


def test_secrets_are_rotated() -> None:
    """The first secret signs, and both verify; without the old one its headers are refused."""
    both = OwnerKeys(f"{_NEW}, {_OLD}")
    assert both.owner(_signed(secret=_OLD), "id-1", "shop.price") == Owner("alice", "acme")
    by_both = _signed(secret=f"{_NEW},{_OLD}")
    assert by_both == _signed(secret=_NEW)
    assert OwnerKeys(_NEW).owner(by_both, "id-1", "shop.price") == Owner("alice", "acme")
    with pytest.raises(OwnerError, match="no valid signature"):
        OwnerKeys(_NEW).owner(_signed(secret=_OLD), "id-1", "shop.price")


def test_a_process_without_a_secret_verifies_nothing() -> None:
    """It refuses each header, and says what is not set."""
    with pytest.raises(OwnerError, match="ACCESS_SECRET is not set"):
        OwnerKeys("").owner(_signed(), "id-1", "shop.price")
    with pytest.raises(ValueError, match="ACCESS_SECRET: a secret is required"):
        _signed(secret="")


@pytest.mark.parametrize("secret", ["short", f"{_OLD},", f"{_OLD},short"])
def test_short_secrets_are_refused(secret: str) -> None:
    """Each of several secrets is long enough not to be guessed."""
    with pytest.raises(ValueError, match="ACCESS_SECRET: each secret must have at least 32 characters"):
        OwnerKeys(secret)


@pytest.mark.parametrize(("owner", "error"), [("", ValueError), ("x" * (MAX_LENGTH + 1), ValueError), (7, TypeError)])
def test_owners_are_texts(owner: Any, error: type[Exception]) -> None:
    """What cannot be an owner is an error of the program that gives it."""
    with pytest.raises(error, match="owner: must be a text"):
        _signed(owner)
    with pytest.raises(error, match="tenant: must be a text"):
        _signed("alice", owner)


def test_nothing_shows_a_secret() -> None:
    """Neither the keys nor an error show a secret, an owner or a part of a header."""
    assert _OLD not in repr(_KEYS) + repr(vars(_KEYS))
    with pytest.raises(OwnerError) as refused:
        OwnerKeys(_NEW).owner(_signed("canary"), "id-1", "shop.price")
    assert "canary" not in str(refused.value)
    assert _signed("canary")[4:20] not in str(refused.value)
    assert NOBODY == (None, None)


def test_the_module_needs_nothing_else() -> None:
    """A program that only sends tasks loads neither Celery nor MongoDB nor the rest of the package by it."""
    code = (
        "import sys; before = set(sys.modules); import gql_api.access.owner_signature;"
        "print(sorted({name.split('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "['gql_api']"
