"""New API tokens: the checks of their texts and times, and the documents that are stored of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gql_api import values
from gql_api.access.api_tokens import ApiToken
from gql_api.access.grants import Grant
from gql_api.registry.api_tokens import StoredToken
from gql_api.values import InvalidValueError, Problem

MAX_TEXT = 255
DEFAULT_SECONDS = 90 * 86_400
MAX_SECONDS = 3660 * 86_400


@dataclass(frozen=True, slots=True)
class NewToken:
    """An API token before it is made.

    Attributes:
        name: a text that says what the token is for.
        subject: who its holder is.
        tenant: the tenant of the subject, if there are tenants.
        expires_in_seconds: the time until it expires; None for never.
    """

    name: str
    subject: str
    tenant: str | None
    expires_in_seconds: int | None

    def check(self) -> None:
        """Check the texts and the time.

        Raises:
            InvalidValueError: one is not allowed. The paths of problems are the GraphQL names of the fields.
        """
        if problems := [*self._problems()]:
            raise InvalidValueError(*problems)

    def make(self, grant: Grant, created_by: str | None, latest: datetime | None) -> tuple[ApiToken, StoredToken]:
        """Return a new token, and what is stored of it.

        Args:
            grant: what it allows.
            created_by: the subject of its maker.
            latest: the time at which it expires at the latest; None for any.
        """
        token = ApiToken.new()
        now = datetime.now(UTC)
        seconds = self.expires_in_seconds
        expiry = None if seconds is None else now + timedelta(seconds=seconds)
        times = [time for time in (expiry, latest) if time is not None]
        stored = StoredToken(
            id=token.id,
            hash=token.hash,
            name=self.name,
            subject=self.subject,
            tenant=self.tenant,
            grant=grant.as_json(),
            created_at=_milliseconds(now),
            created_by=created_by,
            expires_at=_milliseconds(min(times)) if times else None,
        )
        return token, stored

    def _problems(self) -> Iterator[Problem]:
        for field, text in (("name", self.name), ("subject", self.subject), ("tenant", self.tenant)):
            if text is None:
                continue
            if not 1 <= len(text) <= MAX_TEXT:
                yield Problem((field,), f"must have from 1 to {MAX_TEXT} characters, got {len(text)}")
            elif not values.is_text(text) or not text.isprintable():
                yield Problem((field,), "must have printable characters only")
        seconds = self.expires_in_seconds
        if seconds is not None and not 1 <= seconds <= MAX_SECONDS:
            yield Problem(("expiresInSeconds",), f"must be from 1 to {MAX_SECONDS}, got {seconds}")


def _milliseconds(time: datetime) -> datetime:
    """Return a time as MongoDB stores it."""
    return time.replace(microsecond=time.microsecond // 1000 * 1000)
