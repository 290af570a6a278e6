"""An issuer of JSON Web Tokens with a real key set on 127.0.0.1, which rotates its keys and can be away."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

URL = "https://issuer.example.com/"
AUDIENCE = "gql-api"
PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@lru_cache
def private_key(algorithm: str, number: int = 0) -> PrivateKey:  # noqa: ARG001 - of several
    """Return a key for an algorithm, made once a test process."""
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm.startswith("ES"):
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_jwk(key: PrivateKey, algorithm: str, **more: Any) -> dict[str, Any]:
    """Return the public part of a key as a JSON Web Key."""
    implementation: Any = get_default_algorithms()[algorithm]
    return {**implementation.to_jwk(key.public_key(), as_dict=True), "use": "sig", **more}


def claims(**more: Any) -> dict[str, Any]:
    """Return the claims of a valid token, with some replaced, and without those that are ``...``."""
    now = int(time.time())
    given = {"iss": URL, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 600, "scope": "tasks:read", **more}
    return {name: value for name, value in given.items() if value is not ...}


class Issuer:
    """A running issuer. Its first key has the id ``1``."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.url = f"http://127.0.0.1:{server.server_port}/jwks.json"
        self.fetches = 0
        self.keys: list[Any] = []
        self.respond: Callable[[BaseHTTPRequestHandler], None] | None = None
        self.rotate("1")

    def rotate(self, key_id: str, algorithm: str = "RS256", number: int = 0, *, keep: bool = False) -> None:
        """Replace the keys by another one, or add it to them."""
        jwk = public_jwk(private_key(algorithm, number), algorithm, kid=key_id)
        self.keys = [*(self.keys if keep else []), jwk]

    def token(
        self, algorithm: str = "RS256", number: int = 0, headers: dict[str, Any] | None = None, **more: Any
    ) -> str:
        """Sign a token, whose claims may be replaced."""
        return jwt.encode(claims(**more), private_key(algorithm, number), algorithm, headers or {"kid": "1"})

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer with the key set."""
        self.fetches += 1
        if self.respond is not None:
            self.respond(handler)
            return
        body = json.dumps({"keys": self.keys}).encode()
        send(handler, 200, body)


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    """Send an answer."""
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    with contextlib.suppress(ConnectionError):
        handler.wfile.write(body)


@contextlib.contextmanager
def running_issuer() -> Iterator[Issuer]:
    """Serve a key set until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        """The handler of one request."""

        def do_GET(self) -> None:
            """Answer with the key set."""
            issuer.answer(self)

        def log_message(self, *_args: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer = Issuer(server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
