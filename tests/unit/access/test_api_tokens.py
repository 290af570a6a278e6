from __future__ import annotations

import hmac

import pytest

from gql_api.access.api_tokens import ApiToken


def test_a_token_begins_with_its_id() -> None:
    """A token has a public id, 256 random bits and a checksum, and is read back as it was made."""
    token = ApiToken.new()
    assert token.text.startswith(f"{token.id}_")
    assert ApiToken.parse(token.text) == token
    assert len(bytes.fromhex(token.text.removeprefix(f"{token.id}_")[:-8])) == 32
    assert len({ApiToken.new().id for _ in range(100)}) == 100


def test_a_token_does_not_show_itself() -> None:
    """The representation of a token, which tracebacks and logs print, has its id only."""
    token = ApiToken.new()
    assert token.text.removeprefix(token.id) not in repr(token)


def test_a_text_that_is_no_token_is_not_looked_for() -> None:
    """A token with a typing error fails by its checksum, without a read of MongoDB."""
    token = ApiToken.new().text
    wrong = token[:-1] + ("1" if token[-1] == "0" else "0")
    for text in ["", "gqt_", wrong, token.upper(), f"{token} ", token.replace("gqt", "xyz"), f"{token}\n", token[:-1]]:
        assert ApiToken.parse(text) is None


def test_hashes_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison of hashes is hmac.compare_digest, whose time tells nothing about the stored one."""
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    token, other = ApiToken.new(), ApiToken.new()
    assert token.has_hash(token.hash)
    assert not token.has_hash(other.hash)
    assert compared == [(token.hash, token.hash), (token.hash, other.hash)]
