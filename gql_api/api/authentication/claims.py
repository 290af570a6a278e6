"""The claims of a JSON Web Token, and the principal that they describe."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from gql_api import values
from gql_api.access.principal import UNRESTRICTED, Principal, Restrictions, Scope
from gql_api.access.token_filter import read_token_filter
from gql_api.api.errors import ApiError
from gql_api.query.filter import TaskFilter
from gql_api.settings import Settings, SettingsError

_MAX_LENGTH = 255
_SEPARATORS = re.compile(r"[:.-]")
_FIELDS = frozenset({"names", "queues", "minPriority", "maxTimeLimitSeconds", "metadata"})
_MAX_PRIORITY = 9
_MAX_BYTES = 16 * 1024
_ABSENT = object()


class ClaimsError(ApiError, ValueError):
    """A claim that does not have the form that the settings expect. The message is not for clients."""


class Claims:
    """The reader of claims, as the settings map them.

    Raises:
        SettingsError: ``JWT_DEFAULT_SCOPES`` names a scope that does not exist.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._prefix = settings.jwt_scopes_prefix
        unknown = [name for name in settings.jwt_default_scopes if _scope(name) is None]
        if unknown:
            raise SettingsError(f"JWT_DEFAULT_SCOPES: expected names out of {', '.join(Scope)}, not {unknown[0]!r}")
        self._default_scopes = frozenset(_known(settings.jwt_default_scopes))

    def principal(self, claims: Mapping[str, Any]) -> Principal:
        """Return the principal that verified claims describe.

        Raises:
            ClaimsError: a claim is missing, or has the wrong form.
        """
        settings = self._settings
        token_id = claims.get("jti")
        return Principal(
            subject=_text(claims, settings.jwt_subject_claim),
            scopes=self._scopes(_found(claims, settings.jwt_scopes_claim)),
            tenant=_text(claims, settings.jwt_tenant_claim) if settings.jwt_tenant_claim else None,
            filter=_filter(_found(claims, settings.jwt_filter_claim)),
            restrictions=_restrictions(_found(claims, settings.jwt_restrictions_claim)),
            expires_at=_time(claims["exp"]),
            token_id=token_id if isinstance(token_id, str) and 0 < len(token_id) <= _MAX_LENGTH else None,
        )

    def _scopes(self, claim: object) -> frozenset[Scope]:
        if claim is _ABSENT:
            return self._default_scopes
        names = claim.split() if isinstance(claim, str) else claim
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ClaimsError("the claim of scopes must be a text or a list of texts")
        prefix = self._prefix
        return frozenset(_known(name.removeprefix(prefix) for name in names if name.startswith(prefix)))


def _known(names: Iterable[str]) -> Iterable[Scope]:
    """Return the scopes that are this API's: a token may have those of others too."""
    return (scope for scope in map(_scope, names) if scope is not None)


def _scope(name: str) -> Scope | None:
    return Scope.__members__.get(_SEPARATORS.sub("_", name).upper())


def _found(claims: Mapping[str, Any], name: str) -> Any:
    """Return a claim by its name, or by its path, like ``realm_access.roles``."""
    if not name:
        return _ABSENT
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            return _ABSENT
        value = value[part]
    return value


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = _found(claims, name)
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_LENGTH:
        raise ClaimsError(f"the claim {name} must be a text of 1 to {_MAX_LENGTH} characters")
    if not values.is_text(value):
        raise ClaimsError(f"the claim {name} has a lone surrogate")
    return value


def _filter(claim: object) -> TaskFilter | None:
    if claim is _ABSENT:
        return None
    if not isinstance(claim, dict):
        raise ClaimsError("the claim of the filter must be an object")
    try:
        return read_token_filter(claim)
    except ValueError as error:
        raise ClaimsError(f"the claim of the filter: {error}") from None


def _restrictions(claim: object) -> Restrictions:
    if claim is _ABSENT:
        return UNRESTRICTED
    if not isinstance(claim, dict) or not claim.keys() <= _FIELDS:
        raise ClaimsError(f"the claim of restrictions must be an object with the fields {', '.join(sorted(_FIELDS))}")
    if problems := values.check(claim, ("restrictions",), _MAX_BYTES):
        raise ClaimsError(str(problems[0]))
    metadata = claim.get("metadata", {})
    if not isinstance(metadata, dict):
        raise ClaimsError("restrictions.metadata must be an object")
    priority = _number(claim, "minPriority")
    if priority is not None and (priority != int(priority) or not 0 <= priority <= _MAX_PRIORITY):
        raise ClaimsError(f"restrictions.minPriority must be a number from 0 to {_MAX_PRIORITY}")
    return Restrictions(
        names=_names(claim, "names"),
        queues=_names(claim, "queues"),
        min_priority=None if priority is None else int(priority),
        max_time_limit_seconds=_number(claim, "maxTimeLimitSeconds"),
        metadata=metadata,
    )


def _names(claim: Mapping[str, Any], field: str) -> frozenset[str] | None:
    if field not in claim:
        return None
    names = claim[field]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ClaimsError(f"restrictions.{field} must be a list of texts")
    return frozenset(names)


def _number(claim: Mapping[str, Any], field: str) -> float | None:
    if field not in claim:
        return None
    value = claim[field]
    if not values.is_number(value) or value < 0:
        raise ClaimsError(f"restrictions.{field} must be a number")
    return float(value)


def _time(exp: Any) -> datetime:
    try:
        return datetime.fromtimestamp(int(exp), UTC)
    except (OverflowError, TypeError, ValueError, OSError):
        raise ClaimsError("the claim exp must be a time") from None
