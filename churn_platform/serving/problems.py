"""Errors as answers: RFC 9457 problem details (application/problem+json)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from churn_platform.errors import ChurnError, RequestError
from churn_platform.records.ids import uuid7

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:churn-platform:problem:"
CHALLENGE = 'Bearer realm="churn-platform"'
KEY_MEND = "Send the key as `Authorization: Bearer KEY` or `X-API-Key: KEY`; `churn keys create` makes one."


class FieldProblem(msgspec.Struct, frozen=True):
    """One field at fault: its path in the body, what is wrong with it, and how to mend it."""

    field: str
    message: str
    mend: str = ""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An RFC 9457 problem.

    Attributes:
        type: a URN that names the kind of problem; the same for every occurrence.
        title: the kind of problem in words.
        status: the HTTP status.
        detail: what went wrong this time. Never holds a stack trace or another customer's data.
        instance: a URN that names this occurrence; the log and the ``X-Request-ID`` header carry the same id.
        mend: what the caller can do about it.
        errors: the fields at fault, where the body is.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str
    mend: str = ""
    errors: tuple[FieldProblem, ...] = ()


# Kinds that belong to HTTP rather than to the platform: (code, title) by status.
_HTTP_KINDS = {
    400: ("bad-request", "The request cannot be read"),
    404: ("no-such-route", "No such route"),
    405: ("method-not-allowed", "Method not allowed"),
    413: ("body-too-large", "The body is too large"),
    415: ("unsupported-media-type", "The body is not JSON"),
    500: ("internal", "The service failed"),
}


def new_instance() -> str:
    """A URN for one request (UUIDv7)."""
    return f"urn:uuid:{uuid7()}"


def http_problem(status: int, detail: str, *, instance: str, mend: str = "") -> Problem:
    """A problem of HTTP itself: no route, wrong method, body too large, an internal failure."""
    code, title = _HTTP_KINDS.get(status, ("http", "The request cannot be answered"))
    return Problem(type=TYPE_PREFIX + code, title=title, status=status, detail=detail, instance=instance, mend=mend)


def problem_of(error: ChurnError, *, instance: str) -> Problem:
    """The problem that an error of the platform is.

    Only :class:`RequestError` speaks to callers; of any other error the caller learns the kind alone, because
    its message may name files or rows.
    """
    if not isinstance(error, RequestError):
        return http_problem(
            500,
            f"{error.title}.",
            instance=instance,
            mend=f"Ask the operator of the service to look for {instance} in its log.",
        )
    errors = tuple(_field_problems(error.errors))
    if not errors and error.field:
        errors = (FieldProblem(error.field, error.message, error.mend),)
    return Problem(
        type=TYPE_PREFIX + error.code,
        title=error.title,
        status=error.status,
        detail=error.message,
        instance=instance,
        mend=error.mend or (KEY_MEND if error.status == 401 else ""),
        errors=errors,
    )


def _field_problems(errors: Sequence[dict[str, Any]]) -> list[FieldProblem]:
    return [FieldProblem(str(e["field"]), str(e["message"]), str(e.get("mend", ""))) for e in errors]


def headers_of(problem: Problem) -> list[tuple[bytes, bytes]]:
    """The response headers that a status asks for."""
    if problem.status == 401:
        return [(b"www-authenticate", CHALLENGE.encode())]
    if problem.status == 503:
        return [(b"retry-after", b"2")]
    if problem.status == 413:
        return [(b"connection", b"close")]
    return []
