"""The sample predictions of a demo: asked over HTTP with a real key, checked against what was promised."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import httpx

from churn_platform.errors import ChurnError
from churn_platform.identity.keys import ApiKeys
from churn_platform.identity.roles import Role
from churn_platform.records.home import Home
from churn_platform.records.refs import Refs
from churn_platform.records.store import ContentStore
from churn_platform.records.vault import IdentityVault

KEY_NAME = "demo"
TOLERANCE = 1e-9


class PredictionMismatchError(ChurnError):
    code, title = "prediction-mismatch", "A served prediction does not hold together"


def demo_key(home: Home) -> str:
    """A new key for this demo, valid for a day. Those of earlier demos are revoked: their secrets are gone."""
    keys = ApiKeys.open(home)
    for record in keys.list():
        if record.name == KEY_NAME and record.revoked_at is None:
            keys.revoke(record.key_id)
    secret, _ = keys.create(KEY_NAME, Role.SERVICE, expires_in=timedelta(days=1))
    return secret


def sample_predictions(home: Home, url: str, key: str, count: int = 5) -> list[dict[str, Any]]:
    """Ask for the ``count - 2`` customers on top of the ranked list, one of the middle and the last.

    Raises:
        ChurnError: where the service does not answer 200.
        PredictionMismatchError: where contributions do not add up to the margin, or the margin is not the logit of
            the probability, within 1e-9.
    """
    ranked = _ranked(home)
    chosen = [*ranked[: max(1, count - 2)], ranked[len(ranked) // 2], ranked[-1]]
    answers = []
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
        for customer_id in dict.fromkeys(chosen):
            response = client.post("/v1/predict", json={"customer_id": customer_id})
            if response.status_code != 200:
                problem = response.json() if "json" in response.headers.get("content-type", "") else {}
                raise ChurnError(
                    f"The service answered {response.status_code} to a sample prediction: "
                    f"{problem.get('detail', response.text[:200])}",
                    mend=str(problem.get("mend", "See the service's log below CHURN_HOME/logs.")),
                )
            answers.append(verified(response.json()))
    return answers


def verified(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer, after its arithmetic has been checked."""
    total = answer["base_value"] + math.fsum(answer["contributions"].values())
    if abs(total - answer["margin"]) > TOLERANCE:
        raise PredictionMismatchError(
            f"Prediction {answer['prediction_id']}: base value and contributions give {total!r}, the margin is "
            f"{answer['margin']!r}."
        )
    probability = 1 / (1 + math.exp(-answer["margin"]))
    if abs(probability - answer["probability"]) > TOLERANCE:
        raise PredictionMismatchError(
            f"Prediction {answer['prediction_id']}: the margin gives {probability!r}, the probability is "
            f"{answer['probability']!r}."
        )
    return answer


def _ranked(home: Home) -> list[str]:
    """The company's own ids of the ranked list, the largest expected loss first."""
    import pyarrow.parquet as pq

    ref = Refs(home.refs).get("scores_current")
    table = pq.read_table(ContentStore(home.store).path(ref["digest"]), columns=["customer_id", "rank"])
    pseudonyms = table.sort_by("rank")["customer_id"].to_pylist()
    middle = len(pseudonyms) // 2
    # Only the few that are asked for are revealed; the order is kept.
    wanted = [*pseudonyms[:8], *pseudonyms[middle : middle + 1], *pseudonyms[-1:]]
    return [found for found in IdentityVault.open(home).reveal(wanted) if found is not None]
