"""The requests for pages and their files. The answers are the same for every caller, and have no data of tasks."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.types import Scope

BOARD = "/"
PLAYGROUND = "/graphql"
ASSETS = "/assets/"

_METHODS = frozenset({"GET", "HEAD"})
# The parameters with which a GET runs an operation.
_OPERATION = frozenset({"query", "documentId", "extensions"})


def path_of(scope: Scope) -> str:
    """Return the path of a request below the path at which the application is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def opens_page(scope: Scope) -> bool:
    """Return whether a request opens a page: the board, or the playground in place of running an operation.

    Issuers of tokens send browsers back with parameters in the query, which only the page reads.
    """
    if scope.get("method") not in _METHODS:
        return False
    path = path_of(scope)
    return path == BOARD or (path == PLAYGROUND and _accepts_html(scope) and not _runs_operation(scope))


def loads_asset(scope: Scope) -> bool:
    """Return whether a request is for a file that a page loads."""
    return scope.get("method") in _METHODS and path_of(scope).startswith(ASSETS)


def _accepts_html(scope: Scope) -> bool:
    return any("text/html" in accept for accept in Headers(scope=scope).getlist("accept"))


def _runs_operation(scope: Scope) -> bool:
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    return any(name in _OPERATION for name, _ in query)
