"""The built bento behind a real ``bentoml serve`` on a loopback port."""

from __future__ import annotations

import math
import shutil
import signal
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.bentos.conftest import CUSTOMERS, OBSERVATION, Prepared, Served, start, stop
from tests.serving.champion import NAMES
from tests.serving.problems import problem

pytestmark = pytest.mark.servers


def predict(served: Served, key: str | None, body: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx.post(f"{served.url}/v1/predict", json=body, headers=headers, timeout=30)


def test_health(served: Served) -> None:
    assert served.get("/livez").status_code == 200
    assert served.get("/readyz").status_code == 200


def test_by_features(served: Served, prepared: Prepared) -> None:
    answer = predict(served, prepared.key, {"features": {"logins_30d": 2, "plan": "basic", "mrr": 100}}).json()
    total = answer["base_value"] + math.fsum(answer["contributions"].values())
    assert total == pytest.approx(answer["margin"], abs=1e-9)
    assert answer["probability"] == pytest.approx(1 / (1 + math.exp(-answer["margin"])), abs=1e-9)
    assert answer["model_version"] == "3"
    assert answer["as_of"] == "2026-03-10T00:00:00Z"
    assert answer["revenue_at_risk"] == round(answer["probability"] * 100 * 12, 2)


def test_by_id_through_vault_and_feast(served: Served, prepared: Prepared) -> None:
    for i in (0, 17, 49):
        by_id = predict(served, prepared.key, {"customer_id": CUSTOMERS[i]}).json()
        by_features = predict(served, prepared.key, {"features": prepared.rows[i]}).json()
        assert by_id["customer_id"] == CUSTOMERS[i]
        assert by_id["as_of"] == f"{OBSERVATION}T00:00:00Z"
        for name in ("margin", "contributions", "reasons", "revenue_at_risk"):
            assert by_id[name] == by_features[name]


def test_features_by_id(served: Served, prepared: Prepared) -> None:
    headers = {"x-api-key": prepared.key}
    answer = served.get(f"/v1/features/{CUSTOMERS[4]}", headers=headers).json()
    assert answer["features"] == prepared.rows[4]
    assert set(answer["features"]) == {"mrr", *NAMES}


def test_errors(served: Served, prepared: Prepared) -> None:
    problem(predict(served, None, {"customer_id": CUSTOMERS[0]}), 401, "unauthenticated")
    problem(predict(served, "churn_wrong", {"customer_id": CUSTOMERS[0]}), 401, "unauthenticated")
    problem(predict(served, prepared.key, {"customer_id": "raw-nobody"}), 404, "unknown-customer")
    problem(predict(served, prepared.key, {"customer_id": "raw-customer-left"}), 404, "not-found")
    problem(predict(served, prepared.key, {"features": {"plan": 3}}), 422, "invalid-request", "features.plan")
    problem(predict(served, prepared.key, {"features": {"plan": "x" * 70_000}}), 413, "body-too-large")
    problem(served.get("/nothing"), 404, "no-such-route")
    problem(served.get("/schema.json"), 404, "no-such-route")


def test_the_docs_page_has_its_assets(served: Served) -> None:
    page = served.get("/docs").text
    assert "/static_content/swagger-ui-bundle.js" in page
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert served.get(f"/static_content/{asset}").status_code == 200
    assert "/v1/predict" in served.get("/openapi.json").json()["paths"]


def test_metrics_and_log_name_nobody(served: Served, prepared: Prepared) -> None:
    served.get(f"/v1/features/{CUSTOMERS[5]}", headers={"x-api-key": prepared.key})
    served.get(f"/elsewhere/{CUSTOMERS[5]}")
    predict(served, prepared.key, {"customer_id": CUSTOMERS[5]})
    page = served.get("/metrics")
    assert page.status_code == 200
    assert 'churn_requests_total{method="POST",route="/v1/predict",status="200"}' in page.text
    assert 'churn_predictions_total{model_version="3"' in page.text
    assert "churn_request_seconds_bucket" in page.text
    assert "raw-" not in page.text
    assert "raw-" not in served.log.read_text()
    places = [prepared.home.run, prepared.home.bentoml, prepared.home.feast, prepared.home.logs]
    files = [file for place in places for file in place.rglob("*") if file.is_file()]
    assert [file for file in files if file.suffix == ".db" and "prometheus" in str(file)]
    assert not [file for file in files if b"raw-customer" in file.read_bytes()]


def test_without_a_model_it_lives_and_becomes_ready(prepared: Prepared, package: Path, tmp_path: Path) -> None:
    folder = tmp_path / "later"
    service = start(prepared.home, prepared.bento.tag, tmp_path / "service.log", CHURN_CHAMPION=str(folder))
    try:
        service.wait("/livez", 200)
        assert service.get("/readyz").status_code == 503
        body = {"features": {"plan": "basic"}}
        problem(predict(service, prepared.key, body), 503, "not-ready")
        problem(predict(service, None, body), 401, "unauthenticated")
        shutil.copytree(package, tmp_path / "part")
        (tmp_path / "part").rename(folder)
        assert service.wait("/readyz", 200) < 15
        assert predict(service, prepared.key, body).status_code == 200
        workers = psutil.Process(service.process.pid).children(recursive=True)
        service.process.send_signal(signal.SIGKILL)
        service.process.wait(timeout=5)
        _, alive = psutil.wait_procs(workers, timeout=10)
        assert not alive, "a worker outlived the process that started it"
    finally:
        if service.process.poll() is None:
            stop(service)
