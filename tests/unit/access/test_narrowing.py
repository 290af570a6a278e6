from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gql_api.access.grants import Grant, read_grant
from gql_api.access.narrowing import GrantInput, narrowed
from gql_api.access.principal import ALL_SCOPES, UNRESTRICTED, Principal, Restrictions, Scope
from gql_api.limits import LimitSettings
from gql_api.query.filter import TaskFilter
from gql_api.record.fields import Status
from gql_api.values import InvalidValueError

_LIMITS = LimitSettings()
_ALL = Grant(ALL_SCOPES, None, UNRESTRICTED)
_READ = frozenset({Scope.TASKS_READ})

_SCOPES = st.frozensets(st.sampled_from(Scope), min_size=1)
_NAMES = st.none() | st.frozensets(st.sampled_from(["a", "b", "c"]))
_METADATA = st.dictionaries(st.sampled_from(["x", "y", "z"]), st.integers(0, 3))
_OWN = st.builds(
    Grant,
    _SCOPES,
    st.none() | st.builds(TaskFilter, names=_NAMES.map(lambda names: None if names is None else sorted(names))),
    st.builds(
        Restrictions,
        _NAMES,
        _NAMES,
        st.none() | st.integers(0, 9),
        st.none() | st.floats(1, 100),
        _METADATA,
    ),
)
_ASKED = st.builds(
    GrantInput,
    _SCOPES.map(sorted),
    st.none() | st.builds(TaskFilter, queues=st.lists(st.sampled_from(["q", "r"]))),
    _NAMES.map(lambda names: None if names is None else sorted(names)),
    _NAMES.map(lambda names: None if names is None else sorted(names)),
    st.none() | st.integers(0, 9),
    st.none() | st.floats(1, 100),
    st.none() | _METADATA,
)


def _within(inner: frozenset[str] | None, outer: frozenset[str] | None) -> bool:
    return outer is None or (inner is not None and inner <= outer)


@given(_OWN, _ASKED)
def test_a_token_is_never_wider_than_its_makers(own: Grant, asked: GrantInput) -> None:
    """Whatever is asked for: refused, or within what the maker has and what was asked for."""
    try:
        grant = narrowed(own, asked, _LIMITS)
    except InvalidValueError:
        return
    mine, given_ = own.restrictions, grant.restrictions
    assert grant.scopes <= own.scopes
    assert grant.scopes == set(asked.scopes)
    for part in (own.filter, asked.filter):
        assert part in (None, TaskFilter(), grant.filter) or part in (grant.filter or TaskFilter()).all_of
    for names in (mine.names, None if asked.names is None else frozenset(asked.names)):
        assert _within(given_.names, names)
    for queues in (mine.queues, None if asked.queues is None else frozenset(asked.queues)):
        assert _within(given_.queues, queues)
    for most_urgent in (mine.min_priority, asked.min_priority):
        assert most_urgent is None or (given_.min_priority is not None and given_.min_priority >= most_urgent)
    for longest in (mine.max_time_limit_seconds, asked.max_time_limit_seconds):
        seconds = given_.max_time_limit_seconds
        assert longest is None or (seconds is not None and seconds <= longest)
    assert given_.metadata == {**(asked.metadata or {}), **mine.metadata}


def test_metadata_is_merged_key_by_key() -> None:
    """A maker's value within an object is kept, and a token has more keys in that object if it asks for them."""
    mine = {"customer": {"id": "c-42"}, "empty": {}, "team": "a"}
    asked = {"customer": {"id": "c-43", "tier": "gold"}, "empty": {"x": 1}, "team": {"x": 1}, "page": 1}
    own = Grant(_READ, None, Restrictions(metadata=mine))
    merged = narrowed(own, GrantInput([*_READ], metadata=asked), _LIMITS).restrictions.metadata
    assert merged == {**mine, "customer": {"id": "c-42", "tier": "gold"}, "page": 1}


def _refused() -> Iterator[tuple[GrantInput, str]]:
    yield GrantInput([]), "scopes: at least one"
    yield GrantInput([Scope.ADMIN]), "scopes: your own token does not have the scope ADMIN"
    yield GrantInput([*_READ], names=["b"]), "names: your own token allows none"
    yield GrantInput([*_READ], names=["\ud800"]), "names: contains a lone surrogate"
    yield GrantInput([*_READ], min_priority=10), "minPriority: must be from 0 to 9"
    yield GrantInput([*_READ], max_time_limit_seconds=0.0), "maxTimeLimitSeconds: must be greater than 0"
    yield GrantInput([*_READ], max_time_limit_seconds=float("nan")), "maxTimeLimitSeconds: must be greater than 0"
    yield GrantInput([*_READ], metadata=[]), "metadata: must be an object"
    yield GrantInput([*_READ], metadata={"a": "x" * 70_000}), "metadata: at most 65536 bytes"
    yield GrantInput([*_READ], filter=TaskFilter(statuses=[Status.QUEUED])), "filter.statuses: is not allowed"


@pytest.mark.parametrize(("asked", "message"), [pytest.param(*each, id=each[1]) for each in _refused()])
def test_a_refusal_names_the_field(asked: GrantInput, message: str) -> None:
    """What the maker does not have itself, or what is invalid, is refused with the name of the field."""
    own = Grant(_READ, None, Restrictions(names=frozenset({"a"})))
    with pytest.raises(InvalidValueError, match=message):
        narrowed(own, asked, _LIMITS)


def test_filters_that_are_too_large_together_are_refused() -> None:
    """Each token works: a chain of tokens ends where their filters together exceed the limits."""
    asked = GrantInput([*ALL_SCOPES], filter=TaskFilter(names=["a"]))
    grant = _ALL
    # A visibility has 4 parts, a combination one, and each filter of names two.
    for _ in range(47):
        grant = read_grant(narrowed(grant, asked, _LIMITS).as_json())
    assert Principal("alice", ALL_SCOPES, "acme", grant.filter).visibility.query
    with pytest.raises(InvalidValueError, match="filter: at most 100 conditions"):
        narrowed(grant, asked, _LIMITS)


def test_a_condition_that_a_token_cannot_have_is_never_lost() -> None:
    """A maker whose own filter has a condition on the status makes no token: it would see more than the maker."""
    own = Grant(_READ, TaskFilter(all_of=[TaskFilter(statuses=[Status.QUEUED])]), UNRESTRICTED)
    for filter_ in (None, TaskFilter(names=["a"])):
        with pytest.raises(InvalidValueError, match=r"filter.AND.0.statuses: is not allowed"):
            narrowed(own, GrantInput([*_READ], filter=filter_), _LIMITS)
    with pytest.raises(InvalidValueError, match=r"AND.0.statuses: is not allowed"):
        own.as_json()


@given(_OWN)
def test_a_grant_is_read_as_it_was_written(own: Grant) -> None:
    """The JSON form of a grant is read back as the same grant."""
    written = own.as_json()
    read = read_grant(written)
    assert read.as_json() == written
    assert (read.scopes, read.restrictions) == (own.scopes, own.restrictions)
