"""API tokens: ``gqt_`` with an id, a secret and a checksum, by which scanners find leaked ones without false alarms.

The id is public, and names the token in lists and logs. MongoDB has the SHA-256 of the whole token: the secret has 256
random bits, so that a slow hash would add nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import zlib
from dataclasses import dataclass, field
from typing import Self

PREFIX = "gqt_"

_ID_BYTES = 8
_SECRET_BYTES = 32
_FORM = re.compile(r"(?P<id>gqt_[0-9a-f]{16})_[0-9a-f]{64}(?P<checksum>[0-9a-f]{8})", re.ASCII)
_CHECKSUM_LENGTH = 8


@dataclass(frozen=True, slots=True)
class ApiToken:
    """An API token: its public id, and the token itself, which only its holder keeps."""

    id: str
    text: str = field(repr=False)

    @classmethod
    def new(cls) -> Self:
        """Make a token."""
        id_ = f"{PREFIX}{secrets.token_hex(_ID_BYTES)}"
        text = f"{id_}_{secrets.token_hex(_SECRET_BYTES)}"
        return cls(id_, text + _checksum(text))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read a token; return None for a text of another form."""
        match = _FORM.fullmatch(text)
        if match is None or _checksum(text[:-_CHECKSUM_LENGTH]) != match["checksum"]:
            return None
        return cls(match["id"], text)

    @property
    def hash(self) -> bytes:
        """The SHA-256 of the token, as MongoDB has it."""
        return hashlib.sha256(self.text.encode()).digest()

    def has_hash(self, stored: bytes) -> bool:
        """Compare a stored hash with that of the token, in a time that does not depend on the hashes."""
        return hmac.compare_digest(self.hash, stored)


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"
