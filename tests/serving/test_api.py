from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from churn_platform.serving import openapi, schemas
from churn_platform.serving.metrics import ServingMetrics
from churn_platform.serving.problems import Problem
from churn_platform.serving.runtime import Runtime
from tests.serving.champion import NAMES
from tests.serving.conftest import CUSTOMER, VECTOR, Client
from tests.serving.problems import problem

DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "api.md"


def test_models(client: Client, runtime: Runtime) -> None:
    (model,) = client.get("/v1/models").json()["models"]
    assert model["name"] == "churn"
    assert model["version"] == "7"
    assert model["variant"] == "champion"
    assert model["weight"] == 1.0
    assert runtime.scorer is not None
    assert model["digest"] == runtime.scorer.model.version_digest
    assert [feature["name"] for feature in model["features"]] == list(NAMES)
    assert model["metadata"]["currency"] == "USD"


def test_features_of_a_customer(client: Client) -> None:
    answer = client.get(f"/v1/features/{CUSTOMER}").json()
    assert answer == {
        "customer_id": CUSTOMER,
        "as_of": "2026-03-01T00:00:00Z",
        "generation": None,  # this store is a dictionary
        "layout": None,
        "view_times": {},
        "features": VECTOR,
    }


def test_the_index_leads_to_the_docs(client: Client) -> None:
    answer = client.get("/", headers={})
    assert answer.status_code == 307
    assert answer.headers["location"] == "/docs"


def test_the_docs_page_asks_no_other_host(client: Client) -> None:
    page = client.get("/docs", headers={}).text
    assert "/openapi.json" in page
    assert not re.search(r"https?://", page)


@pytest.fixture
def document(client: Client) -> dict[str, Any]:
    answer = client.get("/openapi.json", headers={})
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def test_openapi_holds_the_hot_path(document: dict[str, Any]) -> None:
    assert list(document["paths"]) == ["/v1/features/{customer_id}", "/v1/models", "/v1/predict"]
    predict = document["paths"]["/v1/predict"]["post"]
    assert set(predict["responses"]) >= {"200", "401", "403", "404", "413", "415", "422", "503"}
    for operations in document["paths"].values():
        for operation in operations.values():
            assert operation["security"] == openapi.SECURITY
            assert operation["summary"]


def test_openapi_references_resolve(document: dict[str, Any]) -> None:
    text = msgspec.json.encode(document).decode()
    names = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert names <= set(document["components"]["schemas"])
    assert {"PredictRequest", "Prediction", "Problem", "CustomerFeatures", "Models"} <= names


def test_answers_follow_their_schemas(client: Client) -> None:
    """Strict decoding by the very structs that make the OpenAPI page."""
    prediction = client.predict({"customer_id": CUSTOMER})
    decoded = msgspec.json.decode(prediction.content, type=schemas.Prediction)
    assert set(prediction.json()) == set(schemas.Prediction.__struct_fields__)
    assert decoded.as_of.tzinfo is not None
    msgspec.json.decode(client.get("/v1/models").content, type=schemas.Models)
    msgspec.json.decode(client.get(f"/v1/features/{CUSTOMER}").content, type=schemas.CustomerFeatures)
    refused = client.predict({"customer_id": "nobody"})
    msgspec.json.decode(refused.content, type=Problem)
    problem(refused, 404, "unknown-customer")


def test_every_endpoint_is_documented(document: dict[str, Any]) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for path, operations in document["paths"].items():
        for method in operations:
            assert f"`{method.upper()} {path}`" in text, f"{method.upper()} {path} is missing from {DOCUMENT.name}"
    for path in ("/livez", "/readyz", "/metrics", "/docs", "/openapi.json"):
        assert f"`GET {path}`" in text


def test_every_field_is_documented(document: dict[str, Any]) -> None:
    """Each field of each schema stands in a table row of its section."""
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, schema in document["components"]["schemas"].items():
        section = re.search(rf"^### {name}$(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
        assert section, f"{name} has no section in {DOCUMENT.name}"
        rows = set(re.findall(r"^\| `(\w+)`", section[1], re.MULTILINE))
        assert rows == set(schema["properties"]), f"fields of {name}"


def test_every_problem_and_metric_is_documented(metrics: ServingMetrics, document: dict[str, Any]) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    statuses = {
        status
        for operations in document["paths"].values()
        for operation in operations.values()
        for status in operation["responses"]
    }
    for status in statuses - {"200"}:
        assert re.search(rf"^\| {status} \|", text, re.MULTILINE), f"status {status}"
    for metric in ("churn_requests_total", "churn_request_seconds", "churn_predictions_total"):
        assert f"`{metric}`" in text
