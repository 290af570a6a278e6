"""The documents that a deployment trusts, from a file: clients name them, or send exactly their text.

Ids are those of the file. The file may be an object of ids and documents, as Relay and graphql-codegen write it, or
Apollo's manifest of persisted queries.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from gql_api.api.errors import ApiError

_SHA256 = "sha256:"


class TrustedDocumentsError(ApiError):
    """A file that has no usable documents. The message says what to mend, in one line."""


class TrustedDocuments:
    """The trusted documents by their ids.

    Args:
        documents: the text of each document by its id.
        of_board: the texts of the board's documents. They need not fit the limits: then the board has an error where
            it runs them, and the API starts.
    """

    def __init__(self, documents: Mapping[str, str], of_board: Iterable[str] = ()) -> None:
        self._by_id = dict(documents)
        # The identifier that the GraphQL over HTTP specification gives to every document.
        for text in documents.values():
            self._by_id.setdefault(hashlib.sha256(text.encode()).hexdigest(), text)
        self.texts = frozenset(documents.values()).union(of_board)

    @classmethod
    def load(cls, path: Path, of_board: Iterable[str] = ()) -> Self:
        """Read the file.

        Args:
            path: the file.
            of_board: the texts of the board's documents.

        Raises:
            TrustedDocumentsError: the file cannot be read, or has another format.
        """
        try:
            content = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise TrustedDocumentsError(f"cannot read {path}: {error}") from None
        documents = dict(_documents(content, path))
        if not documents:
            raise TrustedDocumentsError(f"{path} has no documents")
        return cls(documents, of_board)

    def find(self, document_id: str) -> str | None:
        """Return the document with an id, which may have the prefix ``sha256:``."""
        return self._by_id.get(document_id) or self._by_id.get(document_id.removeprefix(_SHA256))

    def items(self) -> Iterator[tuple[str, str]]:
        """Yield each id with its document."""
        yield from self._by_id.items()


def _documents(content: Any, path: Path) -> Iterator[tuple[str, str]]:
    if isinstance(content, dict) and isinstance(content.get("operations"), list):
        entries = [(each.get("id"), each.get("body")) for each in content["operations"] if isinstance(each, dict)]
    elif isinstance(content, dict):
        entries = list(content.items())
    else:
        raise TrustedDocumentsError(f"{path} must be a JSON object of ids and documents, or Apollo's manifest")
    for document_id, text in entries:
        if not isinstance(document_id, str) or not isinstance(text, str):
            raise TrustedDocumentsError(f"{path}: the document {document_id!r} must be a text with an id, a text too")
        yield document_id, text
