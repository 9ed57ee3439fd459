"""The how-to does what it says: its example, as it stands there, is a feature."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pyarrow.parquet as pq
import pytest

from churn_platform.features.assemble import assemble
from churn_platform.features.catalogue import catalogue_for
from churn_platform.features.definitions import support
from churn_platform.features.expression import duckdb_sql
from churn_platform.features.observation import instant
from churn_platform.features.page import render
from churn_platform.records.store import ContentStore
from churn_platform.settings import CHECKOUT
from tests.features.data import Tables, relational
from tests.features.random_tables import random_tables

NAME = "days_since_grave_ticket"


@pytest.fixture
def added() -> Iterator[None]:
    """The example of the page, run in the module it is for, and taken out again."""
    text = (CHECKOUT / "docs" / "how-to" / "add-a-feature.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    before = list(support.FAMILY.declared)
    duckdb_sql.cache_clear()
    exec(compile(example, "add-a-feature.md", "exec"), vars(support))  # noqa: S102 - our own page
    yield
    support.FAMILY.declared[:] = before
    delattr(support, NAME)
    duckdb_sql.cache_clear()


def test_the_example_is_a_feature_with_its_words(added: None) -> None:
    (feature,) = (one for one in catalogue_for(relational()) if one.name == NAME)
    assert feature.family == "support"
    assert feature.unit == "days"
    assert feature.description == "Days from the opening of the newest ticket of severity 3 or 4 known at t to t."
    assert NAME in render([feature])
    assert NAME not in {one.name for one in catalogue_for(relational(without=["tickets"]))}


def test_the_example_is_computed(added: None, store: ContentStore) -> None:
    contract, tables, t = relational(), random_tables(6), instant("2024-08-01")
    versions = Tables(contract, store, tables).versions(["2024-08-01"])
    month = assemble(contract, versions, ["2024-08-01"], store=store)["2024-08-01"]
    found = {row["customer_id"]: row[NAME] for row in pq.read_table(store.path(month.digest)).to_pylist()}
    wanted: dict[str, float] = {}
    for row in tables["tickets"]:
        known = row["event_time"] <= t and row["ingested_at"] <= t
        if known and (row["severity"] or 0) >= 3 and row["customer_id"] in found:
            days = (t - row["event_time"].replace(microsecond=0)).total_seconds() / 86_400
            wanted[row["customer_id"]] = min(days, wanted.get(row["customer_id"], days))
    assert wanted
    assert {who: days for who, days in found.items() if days is not None} == pytest.approx(wanted)


def test_without_it_nothing_is_left_behind() -> None:
    assert NAME not in {one.name for one in catalogue_for(relational())}
