"""The endpoints of pages and assets. The files are read in threads, so that no request waits for a disk."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from werkzeug.http import parse_accept_header, parse_etags

from gql_api.access.principal import NOBODY
from gql_api.api.context import PRINCIPAL
from gql_api.api.execution.encoding import encode
from gql_api.api.pages import files
from gql_api.api.pages.page import NOT_BUILT, PageOptions
from gql_api.api.pages.requests import ASSETS, BOARD, PLAYGROUND
from gql_api.settings import Settings

_NOT_MODIFIED, _NOT_FOUND, _UNAVAILABLE = 304, 404, 503
# Clients send up to 30 characters.
_MAX_LENGTH = 256


class Pages:
    """The pages of an application, and the files that they load.

    Args:
        settings: the settings that say which pages are served.
        has_own_authenticator: whether the deployment identifies callers by itself, for example by a cookie. The pages
            then ask for a token only when the API refuses them.
    """

    def __init__(self, settings: Settings, *, has_own_authenticator: bool = False) -> None:
        self.options = PageOptions.of(settings)
        self._needs_no_token = has_own_authenticator or bool(settings.authenticate)
        self._files = files.BuiltFiles(files.FOLDER)

    def routes(self) -> list[Route]:
        """Return the routes of the board and of the assets; that of the playground is the API's own."""
        options = self.options
        if options.has_board:
            root = [Route(BOARD, self.board)]
        else:
            root = [Route(BOARD, _to_playground)] if options.has_playground else []
        has_pages = options.has_board or options.has_playground
        return [*root, *([Route(f"{ASSETS}{{file}}", self.asset)] if has_pages else [])]

    async def board(self, request: Request) -> Response:
        """Return the board."""
        return await self._page("board.html", request)

    async def playground(self, request: Request) -> Response:
        """Return the playground."""
        return await self._page("playground.html", request)

    async def asset(self, request: Request) -> Response:
        """Return a file that a page loads. Its name changes with its content, so browsers keep it for good."""
        asset = self._files.asset(request.path_params["file"])
        if asset is None:
            return _not_found()
        path, encoding = asset.choose(_weights(", ".join(request.headers.getlist("accept-encoding"))))
        headers = {
            "Cache-Control": "public, max-age=31536000, immutable",
            "ETag": f'"{path.name}"',
            "Vary": "Accept-Encoding",
        }
        if parse_etags(request.headers.get("if-none-match")).contains_weak(path.name):
            return Response(status_code=_NOT_MODIFIED, headers=headers)
        try:
            status = await run_in_threadpool(path.stat)
        except OSError:
            # A build has replaced the file.
            return _not_found()
        if encoding is not None:
            headers["Content-Encoding"] = encoding
        return FileResponse(path, headers=headers, media_type=asset.media_type, stat_result=status)

    async def _page(self, name: str, request: Request) -> Response:
        await run_in_threadpool(self._files.refresh)
        text = self._files.page(name)
        if text is None:
            return HTMLResponse(NOT_BUILT, _UNAVAILABLE)
        needs_token = request.scope.get(PRINCIPAL) is NOBODY and not self._needs_no_token
        page = self.options.render(text, request.scope.get("root_path", ""), needs_token=needs_token)
        return HTMLResponse(page, headers=self.options.headers)


async def _to_playground(request: Request) -> RedirectResponse:
    return RedirectResponse(f"{request.scope.get('root_path', '')}{PLAYGROUND}")


# Each page loads many files with the same header.
@functools.lru_cache(64)
def _weights(accept_encoding: str) -> Mapping[str, float]:
    """Return the weights of content encodings. The library reads a header character by character: a long one is not."""
    return dict(parse_accept_header(accept_encoding)) if len(accept_encoding) <= _MAX_LENGTH else {}


def _not_found() -> Response:
    body = encode({"errors": [{"message": "There is no such file"}]})
    return Response(body, _NOT_FOUND, media_type="application/json")
