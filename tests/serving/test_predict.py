from __future__ import annotations

import math
import uuid
from datetime import UTC, datetime
from typing import Any

import prometheus_client
import pytest

from churn_platform import clock
from churn_platform.records.ids import uuid7_time
from churn_platform.serving.scorer import Scorer, revenue_at_risk
from tests.serving.champion import NAMES, make_columns
from tests.serving.conftest import CUSTOMER, VECTOR, Client

FIELDS = {
    "prediction_id",
    "customer_id",
    "probability",
    "margin",
    "base_value",
    "contributions",
    "reasons",
    "risk_band",
    "revenue_at_risk",
    "model_version",
    "variant",
    "as_of",
    "degraded",
}


def check(answer: dict[str, Any]) -> None:
    """What every answer must hold."""
    assert set(answer) == FIELDS
    total = answer["base_value"] + math.fsum(answer["contributions"].values())
    assert total == pytest.approx(answer["margin"], abs=1e-9)
    assert answer["probability"] == pytest.approx(1 / (1 + math.exp(-answer["margin"])), abs=1e-9)
    assert set(answer["contributions"]) == set(NAMES)
    assert 0 < len(answer["reasons"]) <= 5
    assert uuid.UUID(answer["prediction_id"]).version == 7


def test_by_id(client: Client) -> None:
    reply = client.predict({"customer_id": CUSTOMER})
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["cache-control"] == "no-store"
    answer = reply.json()
    check(answer)
    assert answer["customer_id"] == CUSTOMER
    assert answer["as_of"] == "2026-03-01T00:00:00Z"
    assert answer["model_version"] == "7"
    assert answer["variant"] == "champion"
    assert answer["revenue_at_risk"] == round(answer["probability"] * 250 * 12, 2)


def test_by_features_at_the_clock(client: Client) -> None:
    moment = datetime(2025, 6, 1, 12, tzinfo=UTC)
    with clock.as_of(moment):
        answer = client.predict({"features": {"logins_30d": 2, "plan": "team"}}).json()
    check(answer)
    assert answer["customer_id"] is None
    assert answer["as_of"] == "2025-06-01T12:00:00Z"
    assert answer["revenue_at_risk"] is None
    spent = datetime.now(UTC) - uuid7_time(uuid.UUID(answer["prediction_id"]))
    assert abs(spent.total_seconds()) < 60


def test_id_and_its_features_agree(client: Client) -> None:
    by_id = client.predict({"customer_id": CUSTOMER}).json()
    by_features = client.predict({"features": VECTOR}).json()
    for name in ("probability", "margin", "contributions", "reasons", "risk_band", "revenue_at_risk"):
        assert by_id[name] == by_features[name]


def test_null_is_the_same_as_left_out(client: Client) -> None:
    some = client.predict({"features": {"plan": "basic"}}).json()
    null = client.predict({"features": {"plan": "basic", "logins_30d": None}, "customer_id": None}).json()
    assert some["margin"] == null["margin"]


def test_many_rows_are_each_row(scorer: Scorer) -> None:
    columns = make_columns(40, seed=5)
    rows = [{name: columns[name][i] for name in NAMES} for i in range(40)]
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    together = scorer.answers(rows, [str(i) for i in range(40)], as_of=moment)
    for i, row in enumerate(rows):
        alone = scorer.answer(row, customer_id=str(i), as_of=moment)
        assert alone.customer_id == together[i].customer_id == str(i)
        assert alone.margin == pytest.approx(together[i].margin, abs=1e-12)
        assert alone.contributions == pytest.approx(together[i].contributions, abs=1e-12)
    assert len({answer.prediction_id for answer in together}) == 40
    assert len({answer.risk_band for answer in together}) > 1


def test_more_logins_less_risk(client: Client) -> None:
    few = client.predict({"features": {"logins_30d": 5}}).json()
    many = client.predict({"features": {"logins_30d": 35}}).json()
    assert few["probability"] > many["probability"]
    assert any("Logins in the last 30 days: 5" in reason and "raises" in reason for reason in few["reasons"])


@pytest.mark.parametrize(("revenue", "expected"), [(100.0, 300.0), (0.0, 0.0), (None, None), (math.nan, None)])
def test_revenue_at_risk(revenue: float | None, expected: float | None) -> None:
    assert revenue_at_risk(0.25, revenue) == expected


def test_x_api_key_works_too(client: Client, key: str) -> None:
    assert client.predict({"features": {"plan": "basic"}}, headers={"X-API-Key": key}).status_code == 200


def test_what_is_counted(client: Client, registry: prometheus_client.CollectorRegistry) -> None:
    band = client.predict({"customer_id": CUSTOMER}).json()["risk_band"]
    client.predict({"customer_id": "nobody"})
    client.get("/v1/features/nobody")
    client.get("/some/nobody")

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    route = "/v1/predict"
    assert value("churn_requests_total", route=route, method="POST", status="200") == 1
    assert value("churn_requests_total", route=route, method="POST", status="404") == 1
    features = "/v1/features/{customer_id:path}"
    assert value("churn_requests_total", route=features, method="GET", status="404") == 1
    assert value("churn_requests_total", route="unknown", method="GET", status="404") == 1
    assert value("churn_request_seconds_count", route=route) == 2
    assert value("churn_predictions_total", variant="champion", model_version="7", risk_band=band) == 1
    assert "nobody" not in prometheus_client.generate_latest(registry).decode()
