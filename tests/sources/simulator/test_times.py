from __future__ import annotations

import pytest

from churn_platform.sources.simulator.contract import TABLES
from churn_platform.sources.simulator.simulate import Simulation
from tests.sources.simulator.conftest import Query


@pytest.mark.parametrize("name", list(TABLES))
def test_nothing_is_known_before_it_happens_or_after_the_end(name: str, query: Query, company: Simulation) -> None:
    event, end = TABLES[name].event_time, company.as_of
    assert query.value(f"select count(*) from {name} where ingested_at < {event} or {event} is null") == 0
    assert query.value(f"select count(*) from {name} where ingested_at >= timestamp '{end}'") == 0


@pytest.mark.parametrize("name", list(TABLES))
def test_keys_are_unique_and_accounts_exist(name: str, query: Query) -> None:
    key = ", ".join(TABLES[name].key)
    assert query.rows(f"select {key} from {name} group by {key} having count(*) > 1") == []
    assert query.value(f"select count(*) from {name} anti join accounts using (account_id)") == 0


@pytest.mark.parametrize(
    ("name", "value", "helper"),
    [
        ("subscriptions", "ended_at", "ended_recorded_at"),
        ("invoices", "paid_at", "payment_recorded_at"),
        ("tickets", "closed_at", "closed_recorded_at"),
        ("tickets", "first_response_hours", "closed_recorded_at"),
    ],
)
def test_a_value_is_there_only_where_it_is_known(
    name: str, value: str, helper: str, query: Query, company: Simulation
) -> None:
    assert query.value(f"select count(*) from {name} where {value} is not null and {helper} is null") == 0
    assert query.value(f"select count(*) from {name} where {helper} >= timestamp '{company.as_of}'") == 0
    assert query.value(f"select count({helper}) from {name}") > 0


def test_some_things_are_not_known_yet(query: Query) -> None:
    assert query.value("select count(*) from tickets where closed_at is null") > 0
    assert query.value("select count(*) from invoices where payment_recorded_at is null") > 0


def test_usage_lies_inside_the_subscription(query: Query) -> None:
    outside = """
        select count(*) from usage
        join (
            select account_id, min(started_at) as first, max(ended_at) as last from subscriptions group by all
        ) using (account_id) where usage_date <= first or usage_date > last
    """
    assert query.value(outside) == 0


def test_usage_comes_late_and_in_batches(query: Query) -> None:
    delay = "date_diff('hour', usage_date, ingested_at)"
    assert 25 <= query.value(f"select median({delay}) from usage") <= 30
    # an outage: many rows arrive within one hour of the night, days late
    hourly = f"select count(*) as n from usage where {delay} > 60 group by date_trunc('hour', ingested_at)"
    assert query.value(f"select max(n) from ({hourly})") > 100


def test_files_hold_what_was_delivered_in_their_month(company: Simulation, query: Query) -> None:
    sql = f"""
        select count(*) from read_parquet('{company.out}/usage/*.parquet', filename = true)
        where strftime(ingested_at, '%Y-%m') <> regexp_extract(filename, '(....-..).parquet', 1)
    """
    assert query.value(sql) == 0


def test_departures_are_recorded_after_the_fact_and_within_the_label_delay(query: Query) -> None:
    days = "date_diff('second', effective_at, recorded_at) / 86400.0"
    assert query.value("select count(*) from churn_events where recorded_at <> ingested_at") == 0
    assert query.value("select count(*) from churn_events where cancel_requested_at >= effective_at") == 0
    assert query.value(f"select quantile_cont({days}, 0.98) from churn_events") < 7
    assert 0.5 < query.value(f"select median({days}) from churn_events") < 2


def test_a_subscription_ends_with_its_departure(query: Query) -> None:
    sql = """
        select count(*) from churn_events e join subscriptions s using (account_id)
        where s.ended_at is distinct from e.effective_at or s.started_at >= e.effective_at
    """
    assert query.value(sql) == 0
