"""A column that cannot be trusted takes with it what reads it, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from churn_platform.features.assemble import assemble
from churn_platform.features.available import Available
from churn_platform.features.blocked import blocked_columns, blocked_features
from churn_platform.features.definitions import definitions_for
from churn_platform.features.month import FeatureMonth
from churn_platform.records.store import ContentStore
from churn_platform.sources.tables import TableVersion
from tests.features.data import Tables, relational
from tests.features.random_tables import random_tables

CONTRACT = relational()
WHY = "usage.errors must be a number, but 90 of 100 rows break this"
GENERATED = ("usage_errors_mean_30d", "usage_errors_sum_trend_30d", "usage_logins_mean_30d")


def month(store: ContentStore, table: str = "", column: str = "", known_by: str = "2024-07-01") -> FeatureMonth:
    """The features at 2024-08-01, with a column blocked in one month's part."""
    versions = Tables(CONTRACT, store, random_tables(2)).versions(["2024-08-01"])
    if table:
        found = versions["2024-08-01"][table]
        parts = tuple(replace(p, blocked=((column, WHY),)) if p.known_by == known_by else p for p in found.parts)
        assert parts != found.parts, "no part of that month"
        versions["2024-08-01"][table] = TableVersion(table, found.observation, parts)
    made = assemble(CONTRACT, versions, ["2024-08-01"], store=store, generated=GENERATED)
    return made["2024-08-01"]


def test_only_what_reads_the_column_is_null(store: ContentStore) -> None:
    whole, hurt = month(store), month(store, "usage", "errors")
    assert whole.blocked == {}
    assert set(hurt.blocked) == {
        "errors_30d", "errors_90d", "error_rate_30d", "usage_errors_mean_30d", "usage_errors_sum_trend_30d"
    }  # fmt: skip
    assert all(WHY in reason and "2024-07-01" in reason for reason in hurt.blocked.values())
    before, after = (pq.read_table(store.path(made.digest)) for made in (whole, hurt))
    for name in before.column_names:
        if name in hurt.blocked:
            assert after.column(name).null_count == after.num_rows > 0
        else:
            assert after.column(name).equals(before.column(name)), name


def test_once_the_broken_rows_are_out_of_reach_nothing_is_blocked(store: ContentStore) -> None:
    assert month(store, "usage", "errors", known_by="2024-03-01").blocked == {}


@pytest.mark.parametrize(
    ("table", "column", "hurt", "unhurt"),
    [
        ("subscriptions", "seats", {"seats", "seat_utilisation_30d", "logins_per_seat_30d", "seats_change_90d"}, "mrr"),
        ("subscriptions", "mrr", {"mrr", "mrr_change_90d", "price_per_seat"}, "seats"),
        ("invoices", "amount", {"overdue_amount"}, "overdue_invoices"),
        ("tickets", "csat", {"csat_mean_180d", "last_csat"}, "tickets_30d"),
        ("interventions", "arm", {"interventions_90d"}, "tickets_30d"),
        ("accounts", "region", {"region"}, "industry"),
    ],
)
def test_what_depends_on_what(table: str, column: str, hurt: set[str], unhurt: str) -> None:
    found = blocked_features(definitions_for(Available.of(CONTRACT)), {(table, column): WHY})
    assert hurt <= set(found)
    assert unhurt not in found
    assert "tenure_days" not in found


def test_a_purchase_column_blocks_all_of_the_purchases() -> None:
    from tests.features.shop import shop

    definitions = definitions_for(Available.of(shop()))
    found = blocked_features(definitions, {("orders", "quantity"): WHY})
    assert {one.name for one in definitions if one.table == "orders" and not one.hidden} <= set(found)
    assert blocked_features(definitions, {}) == {}


def test_every_table_without_reach_stays_blocked(store: ContentStore) -> None:
    versions = Tables(CONTRACT, store, random_tables(2)).versions(["2024-08-01"])["2024-08-01"]
    first = versions["tickets"].parts[0]
    marked = replace(
        versions["tickets"], parts=(replace(first, blocked=(("csat", WHY),)), *versions["tickets"].parts[1:])
    )
    found = blocked_columns(Available.of(CONTRACT), [marked, versions["usage"]])
    assert list(found) == [("tickets", "csat")]
