"""Calls without TLS: httpx otherwise reads all certificates of the machine for each, which takes longer than a call."""

from __future__ import annotations

import ssl
from functools import partial

import httpx

_NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

get = partial(httpx.get, verify=_NO_CERTIFICATES)
post = partial(httpx.post, verify=_NO_CERTIFICATES)
put = partial(httpx.put, verify=_NO_CERTIFICATES)
request = partial(httpx.request, verify=_NO_CERTIFICATES)
stream = partial(httpx.stream, verify=_NO_CERTIFICATES)
Client = partial(httpx.Client, verify=_NO_CERTIFICATES)
AsyncClient = partial(httpx.AsyncClient, verify=_NO_CERTIFICATES)
