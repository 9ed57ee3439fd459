"""Generated features against plain loops over the rows, and what they may read."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from statistics import fmean, stdev
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from churn_platform.features.assemble import assemble
from churn_platform.features.available import Available
from churn_platform.features.candidates import COST_LIMIT, candidates, costs
from churn_platform.features.catalogue import catalogue_for, table_columns
from churn_platform.features.definitions import definitions_for
from churn_platform.features.observation import instant
from churn_platform.records.store import ContentStore
from tests.features.data import Row, Tables, relational
from tests.features.random_tables import random_tables

CONTRACT = relational()
AVAILABLE = Available.of(CONTRACT)
FOUND = [one for one in candidates(AVAILABLE, definitions_for(AVAILABLE)) if not one.definition.hidden]
NAMES = tuple(one.name for one in FOUND)
OBSERVATION = "2024-08-01"


def table_of(tables: dict[str, list[Row]], store: ContentStore, generated: tuple[str, ...] = NAMES) -> Any:
    versions = Tables(CONTRACT, store, tables).versions([OBSERVATION])
    made = assemble(CONTRACT, versions, [OBSERVATION], store=store, generated=generated)[OBSERVATION]
    return pq.read_table(store.path(made.digest))


def known(rows: list[Row], who: str, t: datetime, days: int, before: int = 0) -> list[Row]:
    """The rows of a customer in the window, each in its newest revision known at t."""
    newest: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: row["ingested_at"]):
        if row["customer_id"] == who and row["ingested_at"] <= t and row["event_time"] <= t:
            newest[row["row_id"]] = row
    start, end = t - timedelta(days=days + before), t - timedelta(days=before)
    return [row for row in newest.values() if start < row["event_time"] <= end]


@pytest.mark.parametrize("seed", [1, 2])
def test_every_window_and_aggregate_is_what_a_loop_finds(seed: int, store: ContentStore) -> None:
    tables, t = random_tables(seed), instant(OBSERVATION)
    checked = 0
    for row in table_of(tables, store).to_pylist():
        for table, column in (("usage", "minutes"), ("usage", "logins"), ("tickets", "csat"), ("invoices", "amount")):
            for days in (7, 30, 90):
                inside = known(tables[table], row["customer_id"], t, days)
                values = [float(r[column]) for r in inside if r.get(column) is not None]
                wanted: dict[str, float | None] = {
                    "sum": math.fsum(values) if values or inside else 0.0,
                    "mean": fmean(values) if values else None,
                    "max": max(values) if values else None,
                    "std": stdev(values) if len(values) > 1 else None,
                }
                if inside and not values:
                    wanted["sum"] = None
                for kind, value in wanted.items():
                    found = row[f"{table}_{column}_{kind}_{days}d"]
                    assert (found is None) == (value is None), (table, column, kind, days, found, value)
                    assert value is None or found == pytest.approx(value, rel=1e-6, abs=1e-4)
                    checked += value is not None
                assert row[f"{table}_count_{days}d"] == len(inside)
                assert row[f"{table}_days_{days}d"] == len({r["event_time"].date() for r in inside})
    assert checked > 100


def test_trends_and_ratios_follow_from_the_sums(store: ContentStore) -> None:
    tables, t = random_tables(4), instant(OBSERVATION)
    trends = 0
    for row in table_of(tables, store).to_pylist():
        seats, minutes = row["seats"], row["usage_minutes_sum_30d"]
        if seats and minutes is not None:
            assert row["usage_minutes_sum_30d_per_seats"] == pytest.approx(minutes / seats)
        prior = sum(r["minutes"] or 0 for r in known(tables["usage"], row["customer_id"], t, 60, before=30))
        days = row["tenure_days"]
        if days >= 37 and prior and minutes is not None:
            now, then = minutes / min(days, 30), prior / min(days - 30, 60)
            assert row["usage_minutes_sum_trend_30d"] == pytest.approx(now / then, rel=1e-6)
            trends += 1
            near = row["renewal_within_60d"] == 1.0
            assert (row["usage_minutes_sum_trend_30d_near_renewal"] is not None) == near
    assert trends >= 3


@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1_000))
def test_no_candidate_reads_the_future(seed: int, shared_store: ContentStore) -> None:
    tables, t = random_tables(seed, customers=6), instant(OBSERVATION)
    past = {
        name: [row for row in rows if row["event_time"] <= t and row["ingested_at"] <= t]
        for name, rows in tables.items()
    }
    assert table_of(past, shared_store).equals(table_of(tables, shared_store))


def test_the_chosen_ones_are_the_same_whether_made_alone_or_among_all(store: ContentStore) -> None:
    chosen = ("usage_minutes_std_30d", "tickets_csat_mean_90d", "usage_logins_sum_trend_7d", "usage_count_30d_per_mrr")
    few, all_of_them = table_of(random_tables(7), store, chosen), table_of(random_tables(7), store)
    assert tuple(few.column_names) == table_columns(catalogue_for(CONTRACT, generated=chosen))
    for name in few.column_names:
        assert few.column(name).equals(all_of_them.column(name)), name


def test_a_generated_feature_whose_column_is_gone_is_left_out() -> None:
    without = relational(without=["tickets"])
    made = catalogue_for(without, generated=("tickets_csat_mean_90d", "usage_minutes_std_30d"))
    assert [feature.name for feature in made if feature.family == "generated"] == ["usage_minutes_std_30d"]


def test_candidates_are_described_and_named_apart() -> None:
    assert len(set(NAMES)) == len(NAMES) > 250
    assert {one.template for one in FOUND} == {"rows", "aggregate", "trend", "ratio", "interaction"}
    for one in FOUND:
        feature = one.definition.feature
        assert feature.label
        assert feature.description.startswith("Generated: ") or feature.name.endswith("_recency")
        assert feature.null_policy
    assert not {one.table for one in FOUND} & {"churn_events", "interventions"}


def test_the_cost_goes_by_the_rows_that_are_read() -> None:
    cost = costs(FOUND, {"usage": 1_000_000, "tickets": 10_000})
    assert cost["usage_days_90d"] > COST_LIMIT > cost["usage_minutes_std_90d"] > cost["usage_minutes_sum_7d"]
    assert cost["tickets_days_90d"] < 0.1
    assert costs(FOUND, {})["usage_days_90d"] == 0.0


def test_large_amounts_are_summed_and_have_no_spread(store: ContentStore) -> None:
    tables = random_tables(3)
    big = 2.5e13
    for row in tables["invoices"]:
        row["amount"] = big
    found = table_of(tables, store).to_pylist()
    seen = 0
    for row in found:
        for days in (7, 30, 90):
            n = len(known(tables["invoices"], row["customer_id"], instant(OBSERVATION), days))
            if n:
                seen += 1
                assert row[f"invoices_amount_sum_{days}d"] == big * n
                assert row[f"invoices_amount_mean_{days}d"] == big
                assert row[f"invoices_amount_std_{days}d"] is None
    assert seen
