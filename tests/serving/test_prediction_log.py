"""Every answer is recorded; what cannot be recorded is not answered."""

from __future__ import annotations

import json
import math
import time
import uuid
from pathlib import Path

import pytest

from churn_platform.records.home import Home
from churn_platform.records.ids import uuid7
from churn_platform.records.vault import IdentityVault
from churn_platform.serving.prediction_log import STREAM, Answered, PredictionLog, event_of, find_event, vector_digest
from churn_platform.serving.runtime import Runtime
from churn_platform.serving.scorer import Scorer
from tests.serving.conftest import CUSTOMER, VECTOR, Client
from tests.serving.problems import problem


def test_an_answer_by_id_is_recorded(
    client: Client, home: Home, runtime: Runtime, scorer: Scorer, vault: IdentityVault, predictions: PredictionLog
) -> None:
    answer = client.predict({"customer_id": CUSTOMER}).json()
    assert predictions.flush()
    event = find_event(home, answer["prediction_id"])
    assert event is not None
    assert event["schema"] == "prediction_event/1"
    assert event["pseudonym"] == vault.find(CUSTOMER)
    assert event["by"] == "customer_id"
    assert event["model_version"] == "7"
    assert event["model_digest"] == scorer.model.version_digest
    assert event["observation"] == "2026-03-01"
    assert event["vector_digest"] == vector_digest(scorer.model, VECTOR)
    assert event["probability"] == answer["probability"]
    assert event["degraded"] is None
    assert len(event["key_id"]) >= 8
    assert find_event(home, answer["prediction_id"].upper()) == event


def test_an_answer_by_features_is_recorded(client: Client, home: Home, predictions: PredictionLog) -> None:
    first = client.predict({"features": {"plan": "basic", "mrr": 10}}).json()
    second = client.predict({"features": {"plan": "basic", "mrr": 11}}).json()
    assert predictions.flush()
    events = [find_event(home, one["prediction_id"]) for one in (first, second)]
    assert all(event is not None for event in events)
    assert [event["pseudonym"] for event in events if event] == [None, None]
    assert [event["observation"] for event in events if event] == [None, None]
    assert len({event["vector_digest"] for event in events if event}) == 2


def test_no_raw_id_is_in_the_log(client: Client, home: Home, predictions: PredictionLog) -> None:
    client.predict({"customer_id": CUSTOMER})
    assert predictions.flush()
    for path in (home.events / STREAM).glob("*.jsonl"):
        text = path.read_text(encoding="utf-8")
        assert CUSTOMER not in text
        assert json.dumps(CUSTOMER)[1:-1] not in text


def test_an_error_is_no_prediction(client: Client, home: Home, predictions: PredictionLog) -> None:
    predictions.flush()
    before = sum(path.stat().st_size for path in (home.events / STREAM).glob("*.jsonl"))
    assert client.predict({"customer_id": "nobody"}).status_code == 404
    assert client.predict({"features": {"unknown": 1}}).status_code == 422
    assert predictions.flush()
    assert sum(path.stat().st_size for path in (home.events / STREAM).glob("*.jsonl")) == before


def test_without_a_log_nothing_is_answered(client: Client, runtime: Runtime) -> None:
    runtime.predictions = None
    assert not runtime.ready
    problem(client.predict({"features": {"plan": "basic"}}), 503, "not-ready")


def test_what_is_not_there_is_not_found(home: Home) -> None:
    assert find_event(home, str(uuid7())) is None
    assert find_event(home, str(uuid.uuid4())) is None
    assert find_event(home, "nonsense") is None


def test_the_vector_s_digest_is_that_of_its_values(scorer: Scorer) -> None:
    one = vector_digest(scorer.model, VECTOR)
    assert one == vector_digest(scorer.model, dict(reversed(VECTOR.items())))
    assert one == vector_digest(scorer.model, {**VECTOR, "tenure_days": math.nan, "mrr": 250, "more": "ignored"})
    assert one != vector_digest(scorer.model, {**VECTOR, "seats_used": 0.25})


def test_recording_takes_microseconds(tmp_path: Path, scorer: Scorer) -> None:
    log = PredictionLog.open(Home.open(tmp_path / "home"))
    answer = scorer.answer(VECTOR, customer_id="x", as_of=None)
    spent = []
    for _ in range(20):
        began = time.perf_counter()
        for _ in range(100):
            log.append(answer, scorer, VECTOR, pseudonym="p", key_id="k")
        spent.append((time.perf_counter() - began) / 100)
    assert log.flush()
    log.close()
    assert log.lost == 0
    assert sorted(spent)[len(spent) // 2] < 50e-6


@pytest.mark.parametrize("pseudonym", [None, "65vwhfafx26t"])
def test_the_event_has_its_fields(scorer: Scorer, pseudonym: str | None) -> None:
    from churn_platform import clock

    answer = scorer.answer(VECTOR, customer_id=None, as_of=None)
    event = event_of(Answered(answer, scorer, VECTOR, pseudonym, "k", clock.wall()))
    assert set(event) == {
        "prediction_id", "at", "pseudonym", "by", "key_id", "model", "model_version", "model_digest", "variant",
        "vector_digest", "observation", "probability", "margin", "risk_band", "degraded",
    }  # fmt: skip
