"""How far back a feature looks, told from its expression: what lies before it changes nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from churn_platform.features.available import Available
from churn_platform.features.candidates import candidates
from churn_platform.features.definitions import definitions_for
from churn_platform.features.definitions.base import Definition
from churn_platform.features.lookback import lookback_days
from churn_platform.features.observation import instant
from tests.features.data import relational
from tests.features.shop import shop

COMPANY, SHOP = Available.of(relational()), Available.of(shop())


def _all(available: Available) -> dict[str, Definition]:
    made = definitions_for(available)
    return {one.name: one for one in (*made, *(each.definition for each in candidates(available, made)))}


@pytest.mark.parametrize(
    ("available", "name", "days"),
    [
        (COMPANY, "logins_7d", 7),
        (COMPANY, "logins_prior_60d", 90),
        (COMPANY, "csat_mean_180d", 180),
        (COMPANY, "last_activity_days", 90),
        (COMPANY, "core_actions_per_active_seat_30d", 30),
        (COMPANY, "usage_logins_max_30d", 30),
        (COMPANY, "usage_count_prior_60d", 90),
        (COMPANY, "marketing_opened_mean_7d", 7),
        (SHOP, "orders_prior_90d", 180),
        (SHOP, "amount_365d", 365),
        (COMPANY, "last_csat", None),
        (COMPANY, "days_since_failed_payment", None),
        (COMPANY, "open_tickets", None),
        (COMPANY, "industry", None),
        (SHOP, "orders_ever", None),
        (COMPANY, "tenure_days", None),
    ],
)
def test_it_is_told_from_the_expression(available: Available, name: str, days: int | None) -> None:
    assert lookback_days(_all(available)[name], available) == days


@pytest.mark.parametrize("available", [COMPANY, SHOP])
def test_what_lies_before_it_changes_nothing(available: Available) -> None:
    """Every feature with a lookback, over rows that reach far before it and over those inside it alone."""
    import ibis

    from churn_platform.features.definitions.base import Rows
    from churn_platform.features.purchase import with_purchases

    moment, judged = instant("2024-08-01"), 0
    duck = ibis.duckdb.connect()
    for table in available.tables:
        schema = available.schema(table)
        rows = []
        for i in range(400):
            row: dict[str, object] = {"customer_id": f"c{i % 7}", "row_id": f"r{i:03}", "t": moment}
            row["event_time"] = row["ingested_at"] = moment - timedelta(days=i * 2.1)
            for column, kind in schema.items():
                if column not in row:
                    values = {"float64": i % 11 + 0.5, "int64": i % 5, "boolean": i % 3 == 0, "string": f"v{i % 4}"}
                    row[column] = values.get(kind, row["event_time"])
            rows.append(row)
        whole = duck.create_table(f"all_{table}", ibis.memtable(rows, schema=ibis.schema(schema)))
        prepared = with_purchases(whole, available) if table == "orders" else whole
        for one in _all(available).values():
            days = lookback_days(one, available) if one.table == table else None
            if days is None or one.banded is not None:
                continue
            inside = prepared.filter(prepared.event_time > prepared.t - ibis.interval(days=days))
            at_all = inside.customer_id.nunique().execute()
            assert at_all, one.name
            full = prepared.group_by("customer_id").agg(v=one.build(Rows(prepared))).order_by("customer_id").execute()
            recent = inside.group_by("customer_id").agg(v=one.build(Rows(inside))).order_by("customer_id").execute()
            both = recent.merge(full, on="customer_id", suffixes=("_recent", "_full"))
            assert both["v_recent"].equals(both["v_full"]), one.name
            judged += 1
    assert judged > 20
