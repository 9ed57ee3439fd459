"""The few pieces of raw ASGI that the front and the API share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import msgspec

from churn_platform.serving import problems

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

# Answers speak of persons: no cache between us and the caller may keep them.
PRIVATE = (b"cache-control", b"no-store")

encode = msgspec.json.Encoder().encode


def secret_of(headers: Headers) -> str | None:
    """The API key of a request: ``Authorization: Bearer KEY``, else ``X-API-Key: KEY``, else ``None``."""
    other: str | None = None
    for name, value in headers:
        if name == b"authorization":
            scheme, _, secret = value.partition(b" ")
            if scheme.lower() == b"bearer" and secret.strip():
                return secret.strip().decode("latin-1")
        elif name == b"x-api-key":
            other = value.strip().decode("latin-1") or None
    return other


def header(headers: Headers, wanted: bytes) -> bytes | None:
    """The first value of a header, by its lower-case name."""
    return next((value for name, value in headers if name == wanted), None)


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes | None:
    """The whole body; ``None`` as soon as it is announced or seen to be longer than ``limit`` bytes.

    Raises:
        ConnectionError: the caller went away before it was all sent.
    """
    announced = header(scope["headers"], b"content-length")
    if announced is not None and announced.isdigit() and int(announced) > limit:
        return None
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the caller went away")
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            return None
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def send_bytes(send: Send, status: int, body: bytes, media_type: bytes, extra: Headers = ()) -> None:
    """Send a whole answer."""
    headers = [
        (b"content-type", media_type),
        (b"content-length", str(len(body)).encode()),
        PRIVATE,
        *extra,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_json(send: Send, value: object) -> None:
    """Send a 200 with a struct as JSON."""
    await send_bytes(send, 200, encode(value), b"application/json")


async def send_problem(send: Send, problem: problems.Problem, extra: Headers = ()) -> None:
    """Send a problem as its status, media type and headers ask for."""
    headers = [
        *problems.headers_of(problem),
        (b"x-request-id", problem.instance.removeprefix("urn:uuid:").encode()),
        *extra,
    ]
    await send_bytes(send, problem.status, encode(problem), problems.MEDIA_TYPE.encode(), headers)
