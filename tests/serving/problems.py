"""What every error must be."""

from __future__ import annotations

from typing import Any

import httpx

MEMBERS = {"type", "title", "status", "detail", "instance", "mend", "errors"}


def problem(answer: httpx.Response, status: int, code: str, field: str | None = None) -> dict[str, Any]:
    """Check that an answer is an RFC 9457 problem of this status and kind; returns it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert set(body) == MEMBERS
    assert body["status"] == status
    assert body["type"] == f"urn:churn-platform:problem:{code}"
    assert body["title"]
    assert body["detail"]
    assert body["instance"] == f"urn:uuid:{answer.headers['x-request-id']}"
    for error in body["errors"]:
        assert set(error) == {"field", "message", "mend"}
        assert error["message"]
    if field is not None:
        assert field in [error["field"] for error in body["errors"]]
    assert "Traceback" not in answer.text
    assert ".py" not in answer.text
    if status < 500:
        assert body["mend"], "an error must say how to mend it"
    return body
