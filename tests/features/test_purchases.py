"""Purchases, and leaving by inactivity: against a slow re-implementation, without the future, at every edge."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from churn_platform.champion.reasons import sentence
from churn_platform.errors import ContractError
from churn_platform.evaluation.floors import recency_feature
from churn_platform.features.assemble import assemble
from churn_platform.features.catalogue import catalogue_for, table_columns
from churn_platform.features.labels import label_months, label_tables
from churn_platform.features.observation import instant, months
from churn_platform.records.store import ContentStore
from churn_platform.sources.contract import Contract, dump_contract, parse_contract, plain
from tests.features import shop
from tests.features.conftest import rows_at
from tests.features.data import Row, Tables, event, relational
from tests.features.shop import random_orders, with_settled_amounts

T = instant("2024-06-01")
DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
CONTRACTS = {
    "ever": (shop.shop(active_within_days=None), None, False),
    "in the last 90 days": (shop.shop(), 90, False),
    "amounts known later": (shop.shop(shop.SETTLED, active_within_days=45), 45, True),
}
examples = settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
seeds = st.integers(0, 10_000)
observations = st.sampled_from(list(months("2024-02-01", "2025-02-01")))


def orders_of(seed: int, settled: bool) -> dict[str, list[Row]]:
    tables = random_orders(seed)
    return with_settled_amounts(tables, seed) if settled else tables


@pytest.mark.parametrize("name", CONTRACTS)
@pytest.mark.parametrize("observation", ["2024-05-01", "2025-01-01"])
@pytest.mark.parametrize("seed", range(3))
def test_every_value_equals_the_reference(name: str, observation: str, seed: int, shared_store: ContentStore) -> None:
    contract, within, settled = CONTRACTS[name]
    tables = orders_of(seed, settled)
    made = rows_at(tables, observation, shared_store, contract)
    expected = {}
    for who in sorted({row["customer_id"] for row in tables["orders"]}):
        found = shop.features(tables["orders"], who, instant(observation), within=within, settled=settled)
        if found is not None:
            expected[who] = found
    assert list(made) == list(expected)
    assert made
    names = {feature.name for feature in catalogue_for(contract)}
    assert all(set(found) == names for found in expected.values())
    differing = [
        f"{who} {name}: {made[who][name]} instead of {value}"
        for who, found in expected.items()
        for name, value in found.items()
        if not _equal(made[who][name], value)
    ]
    assert differing == []


def _equal(value: Any, expected: Any) -> bool:
    if isinstance(value, float) and isinstance(expected, int | float):
        return math.isclose(value, expected, rel_tol=1e-9, abs_tol=1e-9)
    return bool(value == expected)


def digest(contract: Contract, tables: dict[str, list[Row]], observation: str, store: ContentStore) -> str:
    versions = Tables(contract, store, tables).versions([observation])
    return assemble(contract, versions, [observation], store=store)[observation].digest


@pytest.mark.parametrize("name", CONTRACTS)
@examples
@given(seed=seeds, observation=observations)
def test_truncating_or_editing_the_future_changes_no_feature(
    name: str, seed: int, observation: str, shared_store: ContentStore
) -> None:
    contract, _, settled = CONTRACTS[name]
    tables, t = orders_of(seed, settled), instant(observation)
    now = digest(contract, tables, observation, shared_store)

    def future(row: Row) -> bool:
        return bool(row["ingested_at"] > t or row["event_time"] > t)

    past = {"orders": [row for row in tables["orders"] if not future(row)]}
    assert digest(contract, past, observation, shared_store) == now
    edited = [
        {**row, "customer_id": "c00", "quantity": 9, "product_id": "new", "amount": 1e6} if future(row) else row
        for row in tables["orders"]
    ]
    assert digest(contract, {"orders": edited}, observation, shared_store) == now
    order = np.random.default_rng(seed).permutation(len(tables["orders"]))
    mixed = {"orders": [tables["orders"][int(i)] for i in order]}
    assert digest(contract, mixed, observation, shared_store) == now


@pytest.mark.parametrize("label", [{}, {"gap_days": 10, "active_within_days": None}, {"delay_days": 0}])
@examples
@given(seed=seeds, settled=st.booleans())
def test_labels_equal_the_reference(
    label: dict[str, Any], seed: int, settled: bool, shared_store: ContentStore
) -> None:
    contract = shop.shop(shop.SETTLED if settled else None, **label)
    tables = orders_of(seed, settled)
    keys = list(months("2024-03-01", "2025-02-01"))
    as_of = instant(keys[-1])
    door = Tables(contract, shared_store, tables)
    made = assemble(contract, door.versions(keys), keys, store=shared_store)
    labels = label_months(
        contract,
        {"orders": door.version("orders", keys[-1])},
        keys,
        as_of=as_of,
        populations={key: month.digest for key, month in made.items()},
        store=shared_store,
    )
    seen = set()
    spec = contract.label
    for key, month in labels.items():
        people = pq.read_table(shared_store.path(made[key].digest), columns=["customer_id", "mrr"]).to_pylist()
        rows = pq.read_table(shared_store.path(month.digest)).to_pylist()
        assert [row["customer_id"] for row in rows] == [row["customer_id"] for row in people]
        assert [row["mrr"] for row in rows] == [row["mrr"] for row in people]
        for row in rows:
            expected = shop.outcome(
                tables["orders"],
                row["customer_id"],
                instant(key),
                gap=spec.gap_days,
                horizon=spec.horizon_days,
                delay=spec.delay_days,
                as_of=as_of,
            )
            assert (key, row["outcome"]) == (key, expected)
            assert row["label"] == {"voluntary": 1, "retained": 0}.get(expected)
            seen.add(expected)
        assert month.mature == all(row["outcome"] != "immature" for row in rows) or not rows
        assert month.censored == 0
    assert seen == {"voluntary", "retained", "immature"}


def order(who: str, at: datetime, known: datetime | None = None, **values: Any) -> Row:
    row = {"order_id": "o", "product_id": "p", "quantity": 1, "unit_price": 2.0, **values}
    return {**event(who, f"{who}{at}", at), "ingested_at": known or at, **row}


def test_who_is_a_customer_at_t(store: ContentStore) -> None:
    orders = [
        order("edge", T - 90 * DAY),
        order("inside", T - 90 * DAY + MICROSECOND),
        order("at-t", T),
        order("later", T + MICROSECOND),
        order("late", T - DAY, known=T + MICROSECOND),
        order("late", T - 100 * DAY),
        order("returned-only", T - DAY, quantity=-1),
        order("free", T - DAY, unit_price=0.0),
        order("unknown", T - DAY, quantity=None, unit_price=None),
    ]
    made = rows_at({"orders": orders}, "2024-06-01", store, shop.shop())
    assert set(made) == {"inside", "at-t", "free", "unknown"}
    ever = rows_at({"orders": orders}, "2024-06-01", store, shop.shop(active_within_days=None))
    assert set(ever) == {"inside", "at-t", "free", "unknown", "edge", "late"}
    assert ever["late"]["tenure_days"] == ever["late"]["days_since_last_purchase"] == 100.0
    assert made["free"]["mrr"] == 0.0
    assert made["unknown"]["mrr"] is None
    assert made["unknown"]["amount_30d"] is None


def test_a_first_order_is_no_monthly_revenue(store: ContentStore) -> None:
    orders = [
        order("new", T - 2 * DAY, quantity=1, unit_price=300.0),
        *(order("old", T - n * 30 * DAY, quantity=1, unit_price=60.0) for n in range(3)),
        order("old", T - 200 * DAY, quantity=1, unit_price=900.0),
        order("old", T - 5 * DAY, quantity=-1, unit_price=30.0),
    ]
    made = rows_at({"orders": orders}, "2024-06-01", store, shop.shop())
    assert made["new"]["mrr"] == 100.0
    assert made["old"]["mrr"] == 50.0


def test_every_edge_of_the_label_window(store: ContentStore) -> None:
    contract = shop.shop(gap_days=10, horizon_days=20, delay_days=5, interventions=True)
    people = {
        "at the start": T + 10 * DAY,
        "just inside": T + 10 * DAY + MICROSECOND,
        "at the end": T + 30 * DAY,
        "just after": T + 30 * DAY + MICROSECOND,
        "in the gap": T + 5 * DAY,
    }
    orders = [order(who, T - DAY) for who in [*people, "never again", "returns it", "known too late"]]
    orders += [order(who, at) for who, at in people.items()]
    orders.append(order("returns it", T + 15 * DAY, quantity=-1))
    as_of = T + 35 * DAY
    orders.append(order("known too late", T + 15 * DAY, known=as_of + MICROSECOND))
    measures = [
        {**event("just inside", "m1", T - 5 * DAY), "delivered_at": T - 5 * DAY, "arm": "treated"},
        {**event("at the end", "m2", T - 30 * DAY), "delivered_at": T - 20 * DAY, "arm": "treated"},
        {**event("in the gap", "m3", T), "delivered_at": T, "arm": "control"},
    ]
    door = Tables(contract, store, {"orders": orders, "interventions": measures})
    population = assemble(contract, door.versions(["2024-06-01"]), ["2024-06-01"], store=store)["2024-06-01"]

    def labels(moment: datetime) -> dict[str, dict[str, Any]]:
        found = label_months(
            contract,
            {name: door.version(name, "2024-09-01") for name in label_tables(contract)},
            ["2024-06-01"],
            as_of=moment,
            populations={"2024-06-01": population.digest},
            store=store,
        )["2024-06-01"]
        return {row["customer_id"]: row for row in pq.read_table(store.path(found.digest)).to_pylist()}

    assert {who: row["label"] for who, row in labels(as_of).items()} == {
        "at the start": 1,
        "just inside": 0,
        "at the end": 0,
        "just after": 1,
        "in the gap": 1,
        "never again": 1,
        "returns it": 1,
        "known too late": 1,
    }
    assert {row["outcome"] for row in labels(as_of - MICROSECOND).values()} == {"immature"}
    assert {who for who, row in labels(as_of).items() if row["treated"]} == {"just inside"}


def without(*tables: str) -> dict[str, Any]:
    """The plain contract of all tables, less some."""
    value = plain(relational())
    value["tables"] = {name: table for name, table in value["tables"].items() if name not in tables}
    return value


def test_the_whole_history_counts(store: ContentStore) -> None:
    """Nothing is cut off, however old; a table of usage is read whole where it says who is a customer."""
    made = rows_at({"orders": [order("c", T - 3000 * DAY), order("c", T - DAY)]}, "2024-06-01", store, shop.shop())["c"]
    assert (made["orders_ever"], made["tenure_days"]) == (1.0, 3000.0)  # both have the same order id
    value = without("accounts", "subscriptions", "churn_events")
    value["label"] = {"source": "inactivity", "activity": "usage", "active_within_days": 30}
    usage = [
        {**event("c", f"u{ago}", T - ago * DAY), "logins": 1, "core_actions": 1, "active_seats": 1, "errors": 0}
        for ago in (400, 10)
    ]
    found = rows_at({"usage": usage}, "2024-06-01", store, parse_contract(value))["c"]
    assert (found["tenure_days"], found["logins_90d"], found["days_since_last_activity"]) == (400.0, 1.0, 10.0)


def test_accounts_add_to_orders_without_being_needed(store: ContentStore) -> None:
    contract = shop.shop(accounts=True)
    tables = {
        "orders": [order("a", T - DAY), order("b", T - DAY), order("gone", T - 200 * DAY)],
        "accounts": [
            {**event("a", "1", T - 50 * DAY), "region": "north"},
            {**event("gone", "2", T - 300 * DAY), "region": "south"},
            {**event("never bought", "3", T - 20 * DAY), "region": "west"},
        ],
    }
    made = rows_at(tables, "2024-06-01", store, contract)
    assert {who: (row["tenure_days"], row["region"]) for who, row in made.items()} == {
        "a": (50.0, "north"),
        "b": (1.0, None),
    }
    assert made["a"]["days_since_first_purchase"] == 1.0


@pytest.mark.parametrize(
    ("columns", "there", "absent"),
    [
        ({}, {"orders_90d", "purchase_days_ever", "recency_to_mean_gap"}, {"amount_90d", "mrr", "items_90d"}),
        ({"amount": {"type": "number"}}, {"amount_ever", "mrr", "returned_share"}, {"items_90d", "products_90d"}),
        ({"quantity": {"type": "integer"}}, {"items_90d"}, {"amount_90d", "mrr"}),
    ],
)
def test_columns_decide_which_features_there_are(
    columns: dict[str, Any], there: set[str], absent: set[str], store: ContentStore
) -> None:
    contract = shop.shop(columns)
    names = {feature.name for feature in catalogue_for(contract)}
    assert there <= names
    assert not absent & names
    versions = Tables(contract, store, random_orders(1)).versions(["2024-08-01"])
    month = assemble(contract, versions, ["2024-08-01"], store=store)["2024-08-01"]
    table = pq.read_table(store.path(month.digest))
    assert tuple(table.column_names) == table_columns(catalogue_for(contract))
    assert table.num_rows > 0
    if "order_id" not in columns:  # each row is an order then
        rows = [row for row in table.to_pylist() if row["orders_ever"] > 1]
        assert all(row["orders_ever"] >= row["purchase_days_ever"] for row in rows)


def test_orders_beside_subscriptions_leave_their_revenue_alone() -> None:
    value = plain(relational())
    value["tables"]["orders"] = plain(shop.shop())["tables"]["orders"]
    catalogue = catalogue_for(parse_contract(value))
    assert [feature.family for feature in catalogue if feature.name == "mrr"] == ["lifecycle"]
    assert {"orders_90d", "amount_ever", "logins_30d"} <= {feature.name for feature in catalogue}


def test_the_recency_rule_finds_its_feature_and_reasons_read_well() -> None:
    catalogue = catalogue_for(shop.shop())
    assert recency_feature(catalogue) == ("days_since_last_purchase", "")
    by_name = {feature.name: feature for feature in catalogue}
    typical = {name: {"median": 20.0} for name in by_name}
    assert sentence(by_name["days_since_last_purchase"], 80.0, 0.4, typical) == (
        "Days since the last purchase: 80, typically 20: raises the risk"
    )
    assert sentence(by_name["amount_90d"], 12.5, 0.4, typical, "GBP") == (
        "Amount spent in the last 90 days: 12.50 GBP, typically 20.00 GBP: raises the risk"
    )
    assert len({feature.label for feature in catalogue}) == len(catalogue)


def test_contracts_by_inactivity_hold_together() -> None:
    ever = shop.shop(active_within_days=None)
    assert ever.label.active_within_days is None
    import yaml

    for contract in (ever, shop.shop(), relational()):
        assert parse_contract(yaml.safe_load(dump_contract(contract))) == contract
    assert "kind_column" not in dump_contract(ever)
    assert label_tables(shop.shop(interventions=True)) == ("orders", "interventions")
    assert set(label_tables(relational())) == {"churn_events", "interventions", "subscriptions"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activity": None}, "label.activity: name the table"),
        ({"activity": "usage"}, "one of orders, not 'usage'"),
        ({"active_within_days": 0}, "active_within_days"),
        ({"source": "churn_events"}, "tables.churn_events"),
    ],
)
def test_contracts_that_do_not_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        shop.shop(**change)


def test_departures_beside_inactivity_are_refused() -> None:
    value = plain(relational())
    value["label"] = {"source": "inactivity", "activity": "usage"}
    with pytest.raises(ContractError, match="nobody reads it"):
        parse_contract(value)
    del value["tables"]["churn_events"]
    assert parse_contract(value).activity == "usage"


def test_somebody_must_name_the_customers() -> None:
    value = without("accounts", "subscriptions", "usage", "invoices")
    with pytest.raises(ContractError, match="the relational shape needs the table of customers"):
        parse_contract(value)
