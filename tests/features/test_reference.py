"""Feature values against a slow re-implementation that shares no code with them."""

from __future__ import annotations

import math

import pytest

from churn_platform.features.catalogue import catalogue_for
from churn_platform.features.observation import instant
from churn_platform.records.store import ContentStore
from tests.features import reference
from tests.features.conftest import rows_at
from tests.features.data import relational
from tests.features.random_tables import random_tables


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("observation", ["2024-04-01", "2024-08-01"])
def test_every_value_equals_the_reference(seed: int, observation: str, shared_store: ContentStore) -> None:
    tables = random_tables(seed, customers=15)
    made = rows_at(tables, observation, shared_store)
    expected = {}
    for who in sorted({row["customer_id"] for row in tables["accounts"]}):
        features = reference.features(tables, who, instant(observation))
        if features is not None:
            expected[who] = features
    assert list(made) == list(expected)
    assert made
    differing = [
        f"{who} {name}: {made[who][name]} instead of {value}"
        for who, features in expected.items()
        for name, value in features.items()
        if not _equal(made[who][name], value)
    ]
    assert differing == []


def test_the_reference_covers_nearly_all_features() -> None:
    tables = random_tables(0)
    covered = next(
        made
        for who in ("c00", "c01", "c02", "c03", "c04")
        if (made := reference.features(tables, who, instant("2024-08-01"))) is not None
    )
    names = {feature.name for feature in catalogue_for(relational())}
    assert covered.keys() <= names
    assert names - covered.keys() == {
        "billing_period",
        "country",
        "discount",
        "initial_size",
        "region",
        "renewal_within_60d",
        "signup_channel",
    }


def _equal(value: object, expected: object) -> bool:
    if isinstance(value, float) and isinstance(expected, int | float):
        return math.isclose(value, expected, rel_tol=1e-9, abs_tol=1e-9)
    return value == expected
