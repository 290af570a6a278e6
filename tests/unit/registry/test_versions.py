"""The check of a call against another version of its function."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from gql_api.record.fields import VERSION_HEADER
from gql_api.registry import versions
from gql_api.worker.registration.signatures import define_signature
from gql_api.worker.registration.versions import version_header


def _signature(function: Any) -> Any:
    return define_signature(Celery("versions", set_as_current=False).task(name="f", shared=False)(function))


def _old(number: int, /, unit: str = "kg") -> None: ...
def _other_type(number: str, /, unit: str = "kg") -> None: ...
def _by_name(number: int, unit: str = "kg") -> None: ...
def _other_default(number: int, /, unit: str = "g") -> None: ...
def _keyword_only(number: int, /, *, unit: str = "kg") -> None: ...
def _required(number: int, /, unit: str) -> None: ...
def _more(number: int, /, unit: str = "kg", *rest: Any) -> None: ...
def _everything(*args: Any, **kwargs: Any) -> None: ...
def _same(number: int, /, unit: str = "kg") -> None: ...


def test_each_change_of_a_signature_changes_its_version() -> None:
    """Types, defaults and kinds of parameters are parts of a version, and the code of the function is not."""
    changed = [_other_type, _by_name, _other_default, _keyword_only, _required, _more]
    digests = {_signature(function).digest for function in [_old, *changed]}
    assert len(digests) == len(changed) + 1
    assert _signature(_same).digest in digests
    assert all(digest.isalnum() and len(digest) == 12 for digest in digests)


@pytest.mark.parametrize(
    ("args", "kwargs", "size", "fits", "binds"),
    [
        ([1], {}, 100, True, True),
        ([1, "g"], {}, 100, True, True),
        (["one"], {}, 100, False, True),
        # The values of a large call are not checked.
        (["one"], {}, 10**6, True, True),
        ([1, "g", 2], {}, 10**6, False, False),
        ([], {"number": 1}, 100, False, False),
        ([1], {"count": 1}, 100, False, False),
    ],
)
def test_a_call_fits_a_version(args: list[Any], kwargs: dict[str, Any], size: int, fits: bool, binds: bool) -> None:
    """The types of the values count as long as that is quick, and Python's own rules always."""
    signature = _signature(_old)
    assert versions.fits(signature, args, kwargs, size) is fits
    assert versions.binds(signature, args, kwargs) is binds


@pytest.mark.parametrize(
    ("digest", "own", "binds", "expected"),
    [
        ("old", "new", False, True),
        ("new", "old", True, False),
        # Whether this worker's version is newer is not known yet.
        ("old", "unannounced", True, False),
        ("unannounced", "new", True, True),
        ("unannounced", "new", False, False),
    ],
)
def test_calls_for_versions_that_no_worker_has(digest: str, own: str, binds: bool, expected: bool) -> None:
    """An older version does not come back; a newer one will, and so will one that no worker has had."""
    assert versions.is_left_over(digest, own, ["new", "old"], binds=binds) is expected


@pytest.mark.parametrize(
    ("version", "expected"),
    [("f#abc", "abc"), ("a#b#abc", None), ("g#abc", None), ("f", None), (5, None), (None, None)],
)
def test_a_version_names_its_function(version: Any, expected: str | None) -> None:
    """A header that a program has copied to the message of another function is ignored."""
    assert versions.digest_in(version, "f") == expected


def test_a_program_that_does_not_know_the_parameters_sends_no_version() -> None:
    """It has no such function, or one that stands for that of another program and takes everything."""
    app = Celery("versions", set_as_current=False)
    app.task(name="known", shared=False)(_old)
    app.task(name="stand-in", shared=False)(_everything)
    assert version_header(app, "known")[VERSION_HEADER].startswith("known#")
    assert version_header(app, "stand-in") == version_header(app, "unknown") == version_header(app, "celery.map") == {}
