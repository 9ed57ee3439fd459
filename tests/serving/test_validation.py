from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from churn_platform.errors import InvalidRequestError
from churn_platform.serving.scorer import Scorer
from churn_platform.serving.validation import MOST_LENGTH, MOST_NAMES, names_of, read_predict
from tests.serving.champion import FEATURES

KINDS = {"mrr": "number"} | {feature.name: feature.kind for feature in FEATURES}
QUICK = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from([*KINDS, "login_30d", "", "customer_id"]) | st.text(max_size=20)
bodies = st.fixed_dictionaries(
    {},
    optional={"customer_id": values, "features": st.dictionaries(names, values, max_size=6), "other": values},
)
rows = st.fixed_dictionaries(
    {},
    optional={
        name: (
            st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70)
            if kind == "number"
            else st.none() | st.text(max_size=20) | st.sampled_from(["basic", "team"])
        )
        for name, kind in KINDS.items()
    },
)


def judge(body: bytes) -> None:
    """A body is read, as exactly one of the two, or refused with every fault named."""
    try:
        request = read_predict(body, KINDS)
    except InvalidRequestError as refused:
        complete = bool(refused.field and refused.mend)
        named = all(fault["field"] and fault["message"] and fault["mend"] for fault in refused.errors)
        if not (complete and named):
            pytest.fail(f"{refused} does not name the field and the mend")
        return
    assert (request.customer_id is None) != (request.features is None)
    for name, value in (request.features or {}).items():
        assert name in KINDS
        assert value is None or isinstance(value, str if KINDS[name] == "category" else float)
        assert not isinstance(value, float) or math.isfinite(value)


@QUICK
@given(bodies)
def test_any_object(body: dict[str, Any]) -> None:
    judge(json.dumps(body).encode())


@QUICK
@given(st.binary(max_size=60))
def test_any_bytes(body: bytes) -> None:
    judge(body)


@QUICK
@given(rows)
def test_what_passes_is_scored_and_adds_up(scorer: Scorer, row: dict[str, Any]) -> None:
    body = json.dumps({"features": row}).encode()
    if all(value is None for value in row.values()):
        with pytest.raises(InvalidRequestError):
            read_predict(body, scorer.kinds)
        return
    features = read_predict(body, scorer.kinds).features
    assert features is not None
    answer = scorer.answer(features, customer_id=None, as_of=datetime(2026, 1, 1, tzinfo=UTC))
    total = answer.base_value + math.fsum(answer.contributions.values())
    assert abs(total - answer.margin) < 1e-9
    assert abs(answer.probability - 1 / (1 + math.exp(-answer.margin))) < 1e-9


def test_a_problem_names_the_features_but_not_without_end() -> None:
    said = names_of({"logins_30d": "number", "plan": "category", "mrr": "number"})
    assert said == "The model reads numbers: logins_30d, mrr; texts: plan."
    many = {f"feature_number_{i:04d}": "number" for i in range(500)}
    said = names_of(many)
    assert len(said) < MOST_LENGTH + 200
    named = said.count("feature_number_")
    assert named == MOST_NAMES
    assert f"and {500 - named} more, which GET /v1/models lists" in said
    assert "and 1 more" in names_of({"x" * (MOST_LENGTH + 1): "number"})
