"""Grants: the permissions of tokens, in JSON, as API tokens store it and access tokens carry it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gql_api.access.principal import Principal, Restrictions, Scope
from gql_api.access.token_filter import filter_as_json, read_token_filter
from gql_api.query.filter import TaskFilter

_SCOPES = "scopes"
_FILTER = "filter"
_NAMES = "names"
_QUEUES = "queues"
_MIN_PRIORITY = "min_priority"
_MAX_TIME_LIMIT = "max_time_limit"
_METADATA = "metadata"
_ALL = {_SCOPES, _FILTER, _NAMES, _QUEUES, _MIN_PRIORITY, _MAX_TIME_LIMIT, _METADATA}


@dataclass(frozen=True, slots=True)
class Grant:
    """The permissions of a token: operations by scopes, tasks by a filter, and limits for tasks that it creates."""

    scopes: frozenset[Scope]
    filter: TaskFilter | None
    restrictions: Restrictions

    @classmethod
    def of(cls, principal: Principal) -> Grant:
        """Return the grant of the token of a principal."""
        return cls(principal.scopes, principal.filter, principal.restrictions)

    def as_json(self) -> dict[str, Any]:
        """Return the grant in JSON, without what it does not restrict."""
        restrictions = self.restrictions
        restricted: dict[str, Any] = {
            _FILTER: None if self.filter is None else filter_as_json(self.filter),
            _NAMES: _listed(restrictions.names),
            _QUEUES: _listed(restrictions.queues),
            _MIN_PRIORITY: restrictions.min_priority,
            _MAX_TIME_LIMIT: restrictions.max_time_limit_seconds,
            _METADATA: dict(restrictions.metadata) or None,
        }
        return {
            _SCOPES: sorted(self.scopes),
            **{name: value for name, value in restricted.items() if value is not None},
        }


def shown_grant(value: Mapping[str, Any]) -> Grant:
    """Read a grant from JSON to show it, without what this version does not know."""
    return read_grant({name: value[name] for name in value if name in _ALL})


def read_grant(value: Mapping[str, Any]) -> Grant:
    """Read a grant from JSON. Scopes that this version does not have are left out.

    Raises:
        ValueError: it has another form, or a restriction that this version does not know.
    """
    if unknown := value.keys() - _ALL:
        raise ValueError(f"the grant has unknown restrictions: {', '.join(sorted(unknown))}")
    known = {scope.value for scope in Scope}
    try:
        return Grant(
            frozenset(Scope(scope) for scope in value[_SCOPES] if scope in known),
            None if value.get(_FILTER) is None else read_token_filter(value[_FILTER]),
            Restrictions(
                names=_set(value.get(_NAMES)),
                queues=_set(value.get(_QUEUES)),
                min_priority=value.get(_MIN_PRIORITY),
                max_time_limit_seconds=value.get(_MAX_TIME_LIMIT),
                metadata=dict(value.get(_METADATA) or {}),
            ),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"the grant has another form: {error!r}") from None


def _listed(members: frozenset[str] | None) -> list[str] | None:
    return None if members is None else sorted(members)


def _set(members: list[str] | None) -> frozenset[str] | None:
    return None if members is None else frozenset(members)
