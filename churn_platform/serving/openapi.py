"""The OpenAPI page: generated from the same structs that decode and encode the bodies."""

from __future__ import annotations

import inspect
from typing import Any, Final

import msgspec

from churn_platform.serving import problems
from churn_platform.serving.schemas import CustomerFeatures, Models, Prediction, PredictRequest

_REF: Final = "#/components/schemas/{name}"
_BODIES: Final = (PredictRequest, Prediction, CustomerFeatures, Models, problems.Problem)

_PROBLEMS: Final = {
    401: "No key, or one that is wrong, expired or revoked",
    403: "The key's role may not do this",
    404: "Unknown customer, or one without features online",
    405: "Another method",
    413: "The body is larger than 64 KiB",
    415: "The body is not JSON",
    422: "A malformed body; `errors` names the fields",
    500: "The service failed",
    503: "No model is loaded yet",
}

SECURITY: Final[list[dict[str, list[str]]]] = [{"bearer": []}, {"api_key": []}]

# Declared here and not as a function's parameter: FastAPI would add an error body of its own form.
CUSTOMER_ID: Final[dict[str, Any]] = {
    "name": "customer_id",
    "in": "path",
    "required": True,
    "description": "The company's own id, percent-encoded.",
    "schema": {"type": "string"},
}


def struct_schemas() -> dict[str, Any]:
    """JSON schemas of all bodies, by name."""
    _, components = msgspec.json.schema_components(_BODIES, ref_template=_REF)
    for schema in components.values():
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])
    return dict(components)


def responses(struct: type[msgspec.Struct], *problem_statuses: int) -> dict[int | str, dict[str, Any]]:
    """The responses of an operation: a 200 with ``struct`` and problems for these statuses."""
    answers: dict[int | str, dict[str, Any]] = {
        200: {
            "description": inspect.cleandoc(struct.__doc__ or "").partition("\n")[0],
            "content": {"application/json": {"schema": {"$ref": _REF.format(name=struct.__name__)}}},
        }
    }
    for status in problem_statuses:
        answers[status] = {
            "description": _PROBLEMS[status],
            "content": {problems.MEDIA_TYPE: {"schema": {"$ref": _REF.format(name="Problem")}}},
        }
    return answers


def predict_operation() -> dict[str, Any]:
    """The operation POST /v1/predict, which no framework knows of."""
    body = {"$ref": _REF.format(name="PredictRequest")}
    return {
        "summary": "Score and explain one customer",
        "description": "By the company's own id (features from the online store), or by features. "
        "Needs the scope `predict`.",
        "operationId": "predict",
        "tags": ["predictions"],
        "security": SECURITY,
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": body,
                    "examples": {
                        "by id": {"value": {"customer_id": "ACME-1042"}},
                        "by features": {"value": {"features": {"tenure_months": 7, "plan": "basic"}}},
                    },
                }
            },
        },
        "responses": {
            str(status): answer
            for status, answer in responses(Prediction, 401, 403, 404, 405, 413, 415, 422, 500, 503).items()
        },
    }


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Add to a framework's document what it does not know: the hot path, the bodies and the keys."""
    document["paths"]["/v1/predict"] = {"post": predict_operation()}
    document["paths"] = dict(sorted(document["paths"].items()))
    components = document.setdefault("components", {})
    components["schemas"] = struct_schemas()
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer KEY`"},
        "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    return document
