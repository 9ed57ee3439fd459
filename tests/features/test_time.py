"""The past does not depend on the future: properties over random tables, and the edges of windows."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from churn_platform.errors import FeatureError
from churn_platform.features.assemble import assemble
from churn_platform.features.observation import instant
from churn_platform.records.store import ContentStore
from tests.features.conftest import rows_at
from tests.features.data import Row, Tables, event, relational
from tests.features.random_tables import random_tables

CONTRACT = relational()
examples = settings(
    max_examples=7,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
seeds = st.integers(0, 10_000)
observations = st.sampled_from([f"2024-{month:02d}-01" for month in range(3, 11)])


def digest(tables: dict[str, list[Row]], observation: str, store: ContentStore) -> str:
    versions = Tables(CONTRACT, store, tables).versions([observation])
    return assemble(CONTRACT, versions, [observation], store=store)[observation].digest


def is_future(row: Row, t: datetime) -> bool:
    return bool(row["ingested_at"] > t or row["event_time"] > t)


@examples
@given(seed=seeds, observation=observations)
def test_truncating_the_future_changes_no_feature(seed: int, observation: str, shared_store: ContentStore) -> None:
    tables, t = random_tables(seed), instant(observation)
    truncated = {name: [row for row in rows if not is_future(row, t)] for name, rows in tables.items()}
    assert digest(truncated, observation, shared_store) == digest(tables, observation, shared_store)


@examples
@given(seed=seeds, observation=observations)
def test_editing_and_shuffling_the_future_changes_no_feature(
    seed: int, observation: str, shared_store: ContentStore
) -> None:
    tables, t = random_tables(seed), instant(observation)
    rng = np.random.default_rng(seed)
    edited = {}
    for name, rows in tables.items():
        future = [row for row in rows if is_future(row, t)]
        order = rng.permutation(len(future))
        swapped = [
            {**row, "customer_id": future[int(other)]["customer_id"], **_edited(row)}
            for row, other in zip(future, order, strict=True)
        ]
        edited[name] = [row for row in rows if not is_future(row, t)] + swapped
    assert digest(edited, observation, shared_store) == digest(tables, observation, shared_store)


@examples
@given(seed=seeds, observation=observations)
def test_a_late_event_changes_no_past_row(seed: int, observation: str, shared_store: ContentStore) -> None:
    tables, t = random_tables(seed), instant(observation)
    rng = np.random.default_rng(seed)
    late = {}
    for name, rows in tables.items():
        copies = [
            {
                **row,
                "row_id": f"late-{row['row_id']}",
                "event_time": min(row["event_time"], t),
                "ingested_at": t + timedelta(seconds=float(rng.integers(1, 10**7))),
            }
            for row in rows
        ]
        late[name] = [*rows, *copies]
    assert digest(late, observation, shared_store) == digest(tables, observation, shared_store)


@examples
@given(seed=seeds, observation=observations)
def test_the_order_of_rows_changes_no_byte(seed: int, observation: str, shared_store: ContentStore) -> None:
    tables = random_tables(seed)
    rng = np.random.default_rng(seed)
    mixed = {name: [rows[int(i)] for i in rng.permutation(len(rows))] for name, rows in tables.items()}
    assert digest(mixed, observation, shared_store) == digest(tables, observation, shared_store)


def test_the_properties_are_about_something(shared_store: ContentStore) -> None:
    """The tables do have a future, and the past does change the features."""
    tables, t = random_tables(3), instant("2024-06-01")
    future = {name for name, rows in tables.items() if any(is_future(row, t) for row in rows)}
    assert future >= {"subscriptions", "usage", "invoices", "tickets", "marketing", "churn_events"}
    past = {**tables, "usage": [row for row in tables["usage"] if row["event_time"] < t - timedelta(days=20)]}
    assert digest(past, "2024-06-01", shared_store) != digest(tables, "2024-06-01", shared_store)


def test_an_observation_date_is_refused_what_was_known_later(store: ContentStore) -> None:
    later = Tables(CONTRACT, store, random_tables(1)).versions(["2024-06-01"])["2024-06-01"]
    with pytest.raises(FeatureError, match="known only later"):
        assemble(CONTRACT, {"2024-05-01": later}, ["2024-05-01"], store=store)
    with pytest.raises(FeatureError, match="no version of the table"):
        assemble(CONTRACT, {}, ["2024-05-01"], store=store)


def _edited(row: Row) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for name, value in row.items():
        if name in ("customer_id", "row_id", "event_time", "ingested_at"):
            continue
        if isinstance(value, bool):
            changes[name] = not value
        elif isinstance(value, int | float):
            changes[name] = value + 1000
        elif isinstance(value, datetime):
            changes[name] = value + timedelta(days=11)
        elif isinstance(value, str):
            changes[name] = f"{value}-edited"
    return changes


T = instant("2024-06-01")
MICROSECOND = timedelta(microseconds=1)


def customer(*usage: Row, **tables: list[Row]) -> dict[str, list[Row]]:
    """A customer of two years with ten seats, and the given rows."""
    start = datetime.fromisoformat("2022-06-01")
    return {
        "accounts": [event("c", "a", start)],
        "subscriptions": [event("c", "s", start, subscription_id="s", seats=10, mrr=100.0, plan="pro", renews_at=T)],
        "usage": list(usage),
        **tables,
    }


def used(at: datetime, **values: Any) -> Row:
    counts = {"logins": 1, "core_actions": 1, "active_seats": 1, "errors": 1, **values}
    return {"customer_id": "c", "row_id": f"u{at}", "event_time": at, "ingested_at": at, **counts}


@pytest.mark.parametrize("days", [7, 30, 90])
@pytest.mark.parametrize(
    ("at", "inside"),
    [
        (T, True),
        (T + MICROSECOND, False),
        ("start", False),
        ("just after start", True),
    ],
)
def test_windows_are_open_at_the_start_and_closed_at_the_end(
    days: int, at: datetime | str, inside: bool, store: ContentStore
) -> None:
    start = T - timedelta(days=days)
    moment = {"start": start, "just after start": start + MICROSECOND}.get(str(at), at)
    assert isinstance(moment, datetime)
    made = rows_at(customer(used(moment)), "2024-06-01", store)["c"]
    assert made[f"logins_{days}d"] == made[f"active_days_{days}d"] == float(inside)


def test_rows_of_one_day_are_one_active_day(store: ContentStore) -> None:
    friday, saturday = T - timedelta(days=1), T - timedelta(hours=1)  # 31 May 2024 and its last hours; T is a Saturday
    rows = [used(friday + timedelta(hours=h)) for h in (1, 9, 17)] + [used(saturday)]
    rows.append(used(T - timedelta(days=6, hours=20)))  # Saturday, 25 May
    made = rows_at(customer(*rows), "2024-06-01", store)["c"]
    assert made["logins_7d"] == 5.0
    assert made["active_days_7d"] == made["active_days_30d"] == made["active_days_90d"] == 2.0
    assert made["weekday_share_90d"] == 0.5, "one Friday and one Saturday, however many rows each has"


def test_an_event_is_used_from_the_moment_it_is_known(store: ContentStore) -> None:
    on_time = {**used(T - timedelta(days=3)), "ingested_at": T}
    late = {**used(T - timedelta(days=2)), "ingested_at": T + MICROSECOND}
    made = rows_at(customer(on_time, late), "2024-06-01", store)["c"]
    assert made["logins_7d"] == 1.0
    assert made["days_since_last_activity"] == 3.0


def test_old_parts_are_pruned_without_loss(store: ContentStore) -> None:
    """A row inside the window that was known before it happened, as far ahead as the door allows."""
    early = {**used(T - timedelta(days=89, hours=20)), "ingested_at": T - timedelta(days=90, hours=18)}
    assert rows_at(customer(early), "2024-06-01", store)["c"]["logins_90d"] == 1.0


def test_division_by_zero_is_null(store: ContentStore) -> None:
    rows = customer(used(T - timedelta(days=40)), used(T, core_actions=0, active_seats=0))
    rows["subscriptions"][0]["seats"] = 0
    rows["subscriptions"][0]["mrr"] = 0.0
    made = rows_at(rows, "2024-06-01", store)["c"]
    for name in (
        "error_rate_30d",
        "core_actions_per_active_seat_30d",
        "seat_utilisation_30d",
        "seat_utilisation_change",
        "logins_per_seat_30d",
        "price_per_seat",
        "mrr_change_90d",
    ):
        assert made[name] is None, name
    quiet = rows_at(customer(), "2024-06-01", store)["c"]
    for name in (
        "logins_trend_30d_vs_60d",
        "logins_trend_7d_vs_30d",
        "weekday_share_90d",
        "active_seats_30d",
    ):
        assert quiet[name] is None, name
    assert quiet["logins_30d"] == quiet["tickets_90d"] == quiet["overdue_invoices"] == 0.0
    assert quiet["days_since_last_activity"] == 90.0
    assert quiet["days_to_renewal"] == 0.0


def test_unknown_values_are_null_and_not_zero(store: ContentStore) -> None:
    made = rows_at(customer(used(T, logins=None)), "2024-06-01", store)["c"]
    assert made["logins_30d"] is None
    assert made["active_days_30d"] == 1.0


def test_a_payment_is_open_until_it_was_recorded(store: ContentStore) -> None:
    invoice = event("c", "i", T - timedelta(days=40), amount=50.0, due_at=T - timedelta(days=26))
    paid = {
        **invoice,
        "paid_at": T - timedelta(days=5),
        "failed_attempts": 2,
        "ingested_at": T + timedelta(days=2),
    }
    rows = customer(invoices=[invoice, paid])
    before = rows_at(rows, "2024-06-01", store)["c"]
    after = rows_at(rows, "2024-07-01", store)["c"]
    assert (before["overdue_invoices"], before["overdue_amount"]) == (1.0, 50.0)
    assert before["failed_payments_90d"] is None
    assert (after["overdue_invoices"], after["late_payments_180d"], after["failed_payments_90d"]) == (
        0.0,
        1.0,
        2.0,
    )


def test_who_is_a_customer_at_t(store: ContentStore) -> None:
    start = T - timedelta(days=100)

    def person(who: str, ended: datetime | None = None, recorded: datetime | None = None) -> list[Row]:
        row = event(who, f"s{who}", start, subscription_id=who, seats=1, mrr=1.0)
        return [row] if ended is None else [row, {**row, "ended_at": ended, "ingested_at": recorded or ended}]

    def gone(who: str, effective: datetime, recorded: datetime) -> Row:
        return {
            "customer_id": who,
            "row_id": f"x{who}",
            "event_time": effective,
            "ingested_at": recorded,
            "kind": "voluntary",
        }

    day = timedelta(days=1)
    rows = {
        "accounts": [],
        "subscriptions": [
            *person("ended", T - day),
            *person("ends-at-t", T, T - day),
            *person("ends-later", T + day, T - day),
            *person("ended-unrecorded", T - day, T + day),
            *person("left"),
            *person("left-unrecorded"),
            *person("leaves-later"),
            *person("stays"),
            *person("returned", T - 20 * day, T - 19 * day),
            event("returned", "s2", T - 10 * day, subscription_id="again", seats=2, mrr=2.0),
            event("starts-later", "s3", T + day, lag=-100.0, subscription_id="n", seats=2, mrr=2.0),
        ],
        "churn_events": [
            gone("left", T - 2 * day, T - day),
            gone("left-unrecorded", T - 2 * day, T + day),
            gone("leaves-later", T + 2 * day, T - day),
            gone("returned", T - 20 * day, T - 19 * day),
        ],
    }
    made = rows_at(rows, "2024-06-01", store)
    assert set(made) == {
        "ends-later",
        "ended-unrecorded",
        "left-unrecorded",
        "leaves-later",
        "stays",
        "returned",
    }
    assert made["returned"]["seats"] == 2.0
    assert made["returned"]["tenure_days"] == 10.0  # a new episode
