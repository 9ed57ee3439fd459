"""Every error is a problem that names the fault and the mend, and repeats no customer's id."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from churn_platform.features.online import Missing
from churn_platform.identity.keys import ApiKeys
from churn_platform.records.vault import IdentityVault
from churn_platform.serving.api import build_app
from churn_platform.serving.metrics import ServingMetrics
from churn_platform.serving.runtime import Runtime
from churn_platform.serving.validation import MAX_BODY
from tests.serving.conftest import CUSTOMER, Client, DictVectors
from tests.serving.problems import problem

ROUTES = [("POST", "/v1/predict"), ("GET", "/v1/models"), ("GET", "/v1/features/someone")]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer churn_wrong"},
        {"authorization": "Bearer "},
        {"authorization": "Basic dXNlcjpwYXNz"},
        {"x-api-key": "churn_000000000000_" + "0" * 43},
        {"x-api-key": "schlüssel".encode("latin-1").decode("latin-1")},
    ],
    ids=["none", "wrong", "empty", "basic", "unknown", "not ascii"],
)
def test_no_valid_key(client: Client, method: str, path: str, headers: dict[str, str]) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    answer = client.request(method, path, headers=raw)
    problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_revoked_key(client: Client, keys: ApiKeys) -> None:
    secret, record = keys.create("to be revoked", "service")
    headers = {"authorization": f"Bearer {secret}"}
    assert client.predict({"features": {"plan": "basic"}}, headers=headers).status_code == 200
    keys.revoke(record.key_id)
    problem(client.predict({"features": {"plan": "basic"}}, headers=headers), 401, "unauthenticated")


def test_a_role_that_may_not(client: Client, keys: ApiKeys) -> None:
    headers = {"authorization": f"Bearer {keys.create('reads the audit', 'auditor')[0]}"}
    body = problem(client.predict({"customer_id": CUSTOMER}, headers=headers), 403, "forbidden")
    assert "predict" in body["detail"]
    problem(client.get("/v1/features/someone", headers=headers), 403, "forbidden")
    assert client.get("/v1/models", headers=headers).status_code == 200


def test_the_key_comes_first(client: Client) -> None:
    problem(client.predict(content=b"{", headers={}), 401, "unauthenticated")


def test_unknown_customer(client: Client) -> None:
    by_post = problem(client.predict({"customer_id": "nobody-1"}), 404, "unknown-customer", "customer_id")
    by_get = problem(client.get("/v1/features/nobody-1"), 404, "unknown-customer", "customer_id")
    assert "nobody-1" not in json.dumps([by_post, by_get])


def test_known_but_not_online(client: Client) -> None:
    unknown = problem(client.predict({"customer_id": "nobody-1"}), 404, "unknown-customer")
    known = problem(client.predict({"customer_id": "left-long-ago"}), 404, "not-found", "customer_id")
    assert known["detail"] != unknown["detail"]


@pytest.mark.parametrize(
    ("missing", "status", "code", "words"),
    [
        (Missing("not_found"), 404, "not-found", "no features online"),
        (Missing("expired", datetime(2025, 1, 1, tzinfo=UTC)), 404, "not-found", "2025-01-01: too old"),
        (Missing("mixed", datetime(2025, 1, 1, tzinfo=UTC)), 503, "not-ready", "being replaced"),
    ],
)
def test_no_whole_vector(
    runtime: Runtime,
    client: Client,
    vault: IdentityVault,
    missing: Missing,
    status: int,
    code: str,
    words: str,
) -> None:
    pseudonym = vault.find(CUSTOMER)
    assert pseudonym
    runtime.vectors = DictVectors({pseudonym: missing})
    assert words in problem(client.predict({"customer_id": CUSTOMER}), status, code)["detail"]
    assert words in problem(client.get(f"/v1/features/{CUSTOMER}"), status, code)["detail"]


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[1, 2]", "body"),
        (b'"text"', "body"),
        (b"null", "body"),
        (b"\xff\xfe{}", "body"),
        (b'{"customer_id": "\xff"}', "body"),
        (b'{"features": {"logins_30d": NaN}}', "body"),
        (b'{"features": {"logins_30d": Infinity}}', "body"),
        (b'{"features": {"plan": "basic", "logins_30d": 1e999}}', "features.logins_30d"),
        (b'{"features": {"logins_30d": 1' + b"0" * 400 + b"}}", "features.logins_30d"),
        (b'{"features": {"a": ' + b"[" * 20_000, "body"),
        (b"{}", "customer_id"),
        (b'{"customer_id": null, "features": null}', "customer_id"),
        (b'{"customer_id": "a", "features": {"plan": "basic"}}', "customer_id"),
        (b'{"customer_id": 17}', "customer_id"),
        (b'{"customer_id": true}', "customer_id"),
        (b'{"customer_id": ""}', "customer_id"),
        (b'{"customer_id": ["a"]}', "customer_id"),
        (b'{"customer": "a"}', "customer"),
        (b'{"customer_id": "a", "extra": 1}', "extra"),
        (b'{"features": []}', "features"),
        (b'{"features": {}}', "features"),
        (b'{"features": {"plan": null}}', "features"),
        (b'{"features": {"logins_30d": "3"}}', "features.logins_30d"),
        (b'{"features": {"logins_30d": true}}', "features.logins_30d"),
        (b'{"features": {"logins_30d": [3]}}', "features.logins_30d"),
        (b'{"features": {"plan": 3}}', "features.plan"),
        (b'{"features": {"mrr": "much"}}', "features.mrr"),
        (b'{"features": {"login_30d": 3}}', "features.login_30d"),
    ],
)
def test_malformed_body(client: Client, content: bytes, field: str) -> None:
    problem(client.predict(content=content), 422, "invalid-request", field)


def test_all_faults_at_once_with_close_matches(client: Client) -> None:
    features = {"login_30d": 3, "plan": 4, "seats_used": "half", "quite_else": 1, "tenure_days": 5}
    body = problem(client.predict({"features": features}), 422, "invalid-request")
    found = {error["field"]: error for error in body["errors"]}
    assert set(found) == {f"features.{n}" for n in ("login_30d", "plan", "seats_used", "quite_else")}
    assert "logins_30d" in found["features.login_30d"]["mend"]
    assert "number" in found["features.seats_used"]["message"]
    assert "the problem lists the names" in found["features.quite_else"]["mend"]
    mend = body["mend"]
    assert "The model reads numbers: " in mend
    assert "logins_30d" in mend
    assert re.search(r"texts: [^;]*plan", mend)
    assert "/v1/models" not in mend, "a caller may not have models:read"


def test_the_mend_shows_a_number_as_text(client: Client) -> None:
    body = problem(client.predict({"customer_id": 17}), 422, "invalid-request")
    assert '"17"' in body["mend"]


def test_body_too_large(client: Client) -> None:
    body = {"features": {"plan": "x" * MAX_BODY}}
    answer = client.predict(body)
    problem(answer, 413, "body-too-large")
    assert answer.headers["connection"] == "close"


def test_body_too_large_without_a_length(client: Client) -> None:
    async def chunks() -> Any:
        for _ in range(MAX_BODY // 1024 + 1):
            yield b"x" * 1024

    problem(client.predict(content=chunks()), 413, "body-too-large")


def test_not_json(client: Client) -> None:
    headers = {**client.headers, "content-type": "text/csv"}
    problem(client.predict(content=b"a,b", headers=headers), 415, "unsupported-media-type")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_wrong_method_on_predict(client: Client, method: str) -> None:
    answer = client.request(method, "/v1/predict")
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "POST"


def test_wrong_method_elsewhere(client: Client) -> None:
    answer = client.request("POST", "/v1/models")
    problem(answer, 405, "method-not-allowed")
    assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize("path", ["/v1/nothing", "/nothing", "/v1/predict/", "/v1", "/v1/features/"])
def test_unknown_route(client: Client, path: str) -> None:
    body = client.get(path)
    if path == "/v1/features/":  # an empty id is an id that nobody has
        problem(body, 404, "unknown-customer")
    else:
        problem(body, 404, "no-such-route")


def test_nothing_is_loaded(metrics: ServingMetrics, keys: ApiKeys, key: str) -> None:
    client = Client(build_app(Runtime(metrics=metrics, keys=keys)), key)
    for answer in (
        client.predict({"customer_id": "a"}),
        client.get("/v1/models"),
        client.get("/v1/features/a"),
    ):
        problem(answer, 503, "not-ready")
        assert answer.headers["retry-after"] == "2"
    problem(client.predict({"customer_id": "a"}, headers={}), 401, "unauthenticated")


def test_without_keys_nobody_gets_in(runtime: Runtime, client: Client) -> None:
    runtime.keys = None
    problem(client.predict({"features": {"plan": "basic"}}), 503, "not-ready")
    problem(client.get("/v1/models"), 503, "not-ready")


def test_by_features_without_the_store(runtime: Runtime, client: Client) -> None:
    runtime.vectors = None
    assert not runtime.ready
    problem(client.predict({"customer_id": CUSTOMER}), 503, "not-ready")
    assert client.predict({"features": {"plan": "basic"}}).status_code == 200


@pytest.mark.parametrize("path", ["/v1/predict", f"/v1/features/{CUSTOMER}"])
def test_an_unforeseen_failure(runtime: Runtime, client: Client, caplog: pytest.LogCaptureFixture, path: str) -> None:
    class Broken:
        def get(self, pseudonyms: Sequence[str], *, at: datetime | None = None) -> Any:
            raise KeyError(f"secret row of {CUSTOMER} {pseudonyms}")

    runtime.vectors = Broken()
    with caplog.at_level(logging.ERROR):
        by_id = {"customer_id": CUSTOMER}
        answer = client.predict(by_id) if path == "/v1/predict" else client.get(path)
    body = problem(answer, 500, "internal")
    assert "secret" not in answer.text
    assert body["instance"] in caplog.text
    assert "KeyError" in caplog.text
    assert CUSTOMER not in caplog.text
    assert "secret" not in caplog.text
    assert "Traceback" not in caplog.text
