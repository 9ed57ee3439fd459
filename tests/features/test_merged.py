"""Accounts that were merged: from the time at which that is known the survivor has one history with them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from churn_platform.features.assemble import assemble
from churn_platform.features.labels import departed, label_months
from churn_platform.features.observation import instant
from churn_platform.records.store import ContentStore
from churn_platform.sources.contract import Contract, parse_contract, plain
from tests.features.conftest import rows_at
from tests.features.data import Row, Tables, event, relational
from tests.features.random_tables import random_tables

DAY = timedelta(days=1)
T = instant("2024-06-01")
EARLY, LATE = "2024-06-01", "2024-07-01"
MERGED_AT = T + 10 * DAY


def merging(**changes: Any) -> Contract:
    value: dict[str, Any] = plain(relational(**changes))
    value["tables"]["accounts"]["columns"]["merged_into"] = {"type": "text", "known_at": "merged_at"}
    return parse_contract(value)


CONTRACT = merging()


def account(who: str, **values: Any) -> Row:
    return event(who, f"a{who}", T - 400 * DAY, **values)


def merge(tables: dict[str, list[Row]], who: str, into: str, at: Any) -> dict[str, list[Row]]:
    """A later revision of the account, from ``at`` on."""
    (first,) = [row for row in tables["accounts"] if row["customer_id"] == who][:1]
    told = {**first, "ingested_at": at, "merged_into": into}
    return {**tables, "accounts": [*tables["accounts"], told]}


def under(tables: dict[str, list[Row]], who: str, other: str) -> dict[str, list[Row]]:
    """The same tables with the rows of one account under another's name, as if they had been one from the start."""
    moved = {
        name: [{**row, "customer_id": other} if row["customer_id"] == who else row for row in rows]
        for name, rows in tables.items()
        if name not in ("accounts", "churn_events")
    }
    gone = [row for row in tables["accounts"] if row["customer_id"] != who]
    events = [row for row in tables.get("churn_events", []) if row["customer_id"] != who]
    return {**moved, "accounts": gone, "churn_events": events}


def _two(tables: dict[str, list[Row]], store: ContentStore) -> tuple[str, str]:
    """Two customers of June and July who have never left."""
    left = {row["customer_id"] for row in tables["churn_events"]}
    there = [set(rows_at(tables, month, store, CONTRACT)) - left for month in (EARLY, LATE)]
    first, second = sorted(there[0] & there[1])[:2]
    return first, second


@pytest.mark.parametrize("seed", [1, 4, 9])
def test_the_survivor_has_both_histories_from_the_merge_on_and_not_before(seed: int, store: ContentStore) -> None:
    tables = random_tables(seed)
    old, new = _two(tables, store)
    merged = merge(tables, old, new, MERGED_AT)
    before = rows_at(tables, EARLY, store, CONTRACT)
    assert rows_at(merged, EARLY, store, CONTRACT) == before, "nobody knew of it yet"
    after = rows_at(merged, LATE, store, CONTRACT)
    assert old not in after
    one = rows_at(under(tables, old, new), LATE, store, CONTRACT)
    assert after[new] == one[new]
    alone = rows_at(tables, LATE, store, CONTRACT)
    assert after[new] != alone[new]
    assert {who: row for who, row in after.items() if who != new} == {
        who: row for who, row in alone.items() if who not in (old, new)
    }


def test_without_a_merge_the_column_changes_nothing(store: ContentStore) -> None:
    tables = random_tables(2)
    assert rows_at(tables, LATE, store, CONTRACT) == rows_at(tables, LATE, store)


def _shop(*people: str) -> dict[str, list[Row]]:
    return {
        "accounts": [account(who) for who in people],
        "subscriptions": [
            event(who, f"s{who}", T - 300 * DAY, subscription_id=f"s{who}", mrr=10.0, seats=1) for who in people
        ],
        "usage": [event(who, f"u{who}{day}", T - day * DAY, logins=2) for who in people for day in range(60)],
        "churn_events": [],
    }


def test_merged_in_turn(store: ContentStore) -> None:
    tables = merge(_shop(*"abcd"), "a", "b", T + DAY)
    tables = merge(tables, "b", "c", T + 35 * DAY)
    july, august = (rows_at(tables, month, store, CONTRACT) for month in (LATE, "2024-08-01"))
    assert {who: row["mrr"] for who, row in july.items()} == {"b": 20.0, "c": 10.0, "d": 10.0}
    assert {who: row["mrr"] for who, row in august.items()} == {"c": 30.0, "d": 10.0}


def test_in_a_circle_nobody_is_left(store: ContentStore) -> None:
    tables = merge(merge(_shop(*"abc"), "a", "b", T + DAY), "b", "a", T + DAY)
    assert set(rows_at(tables, LATE, store, CONTRACT)) == {"c"}


def test_a_closed_account_brings_no_subscription_along(store: ContentStore) -> None:
    """Its departure ended what it held; the survivor's own, earlier one does not end what comes by the merge."""
    tables = _shop(*"abcd")
    tables["churn_events"] = [
        event("a", "ea", T - 50 * DAY, kind="voluntary"),
        event("d", "ed", T - 20 * DAY, kind="voluntary"),
    ]
    tables = merge(merge(tables, "a", "b", T + DAY), "c", "d", T + DAY)
    found = rows_at(tables, LATE, store, CONTRACT)
    assert {who: row["mrr"] for who, row in found.items()} == {"b": 10.0, "d": 10.0}
    later = {**tables, "churn_events": [*tables["churn_events"], event("b", "eb", T + 9 * DAY, kind="voluntary"),
                                        event("d", "e2", T + 9 * DAY, kind="voluntary")]}  # fmt: skip
    assert rows_at(later, LATE, store, CONTRACT) == {}, "a departure after the merge ends what both held"


def test_without_ids_of_subscriptions_each_account_s_is_one(store: ContentStore) -> None:
    value: dict[str, Any] = plain(CONTRACT)
    del value["tables"]["subscriptions"]["columns"]["subscription_id"]
    tables = merge(_shop(*"ab"), "a", "b", T + DAY)
    assert rows_at(tables, LATE, store, parse_contract(value))["b"]["mrr"] == 20.0


def _labels(
    store: ContentStore, contract: Contract, tables: dict[str, list[Row]], month: str = EARLY, days: int = 100
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    import pyarrow.parquet as pq

    made = Tables(contract, store, tables)
    features = assemble(contract, made.versions([month]), [month], store=store)[month]
    as_of = instant(month) + days * DAY
    known = {name: made.version(name, f"{as_of:%Y-%m-%d}") for name in contract.tables}
    label = label_months(contract, known, [month], as_of=as_of, populations={month: features.digest}, store=store)
    path = store.path(label[month].digest)
    return {row["customer_id"]: row for row in pq.read_table(path).to_pylist()}, departed(path)


def test_the_survivor_has_left_when_nothing_of_either_is_left(store: ContentStore) -> None:
    contract = merging(without=["churn_events"], source="subscription_end")
    tables = merge(_shop(*"abcde"), "a", "b", T + 5 * DAY)
    tables = merge(merge(tables, "c", "d", T + 25 * DAY), "e", "d", T - 20 * DAY)
    ended = {"b": T + 10 * DAY, "d": T + 10 * DAY, "e": T + 8 * DAY}
    tables["subscriptions"] += [
        {**row, "ingested_at": ended[row["customer_id"]], "ended_at": ended[row["customer_id"]]}
        for row in tables["subscriptions"]
        if row["customer_id"] in ended
    ]
    rows, gone = _labels(store, contract, tables)
    assert {who: row["outcome"] for who, row in rows.items()} == {
        "a": "merged",
        "b": "retained",  # holds what was a's
        "c": "merged",
        "d": "voluntary",  # what was c's came two weeks after its own and e's had ended
    }
    assert set(gone) == {"a", "c"}, "d has come back with what was c's"


def test_a_survivor_s_departure_ends_what_it_took_over(store: ContentStore) -> None:
    tables = merge(_shop(*"ab"), "a", "b", T + 5 * DAY)
    tables["churn_events"] = [event("b", "eb", T + 9 * DAY, kind="voluntary")]
    rows, gone = _labels(store, CONTRACT, tables)
    assert {who: row["outcome"] for who, row in rows.items()} == {"a": "merged", "b": "voluntary"}
    assert gone == ["a", "b"]


def test_a_survivor_comes_back_by_a_merge_but_not_by_what_had_ended(store: ContentStore) -> None:
    tables = _shop(*"abcd")
    tables["churn_events"] = [event(who, f"e{who}", T + 4 * DAY, kind="voluntary") for who in "abd"]
    tables = merge(merge(tables, "a", "b", T + 9 * DAY), "c", "d", T + 9 * DAY)
    rows, gone = _labels(store, CONTRACT, tables)
    assert {who: row["outcome"] for who, row in rows.items()} == {
        "a": "voluntary", "b": "voluntary", "c": "merged", "d": "voluntary",
    }  # fmt: skip
    assert set(gone) == {"a", "b", "c"}


def test_treatment_of_one_is_the_other_s_after_the_merge_only(store: ContentStore) -> None:
    tables = merge(merge(_shop(*"abcd"), "a", "b", T - DAY), "c", "d", T + 2 * DAY)
    tables["interventions"] = [
        event(who, f"i{who}", T - 20 * DAY, delivered_at=T - 20 * DAY, arm="treated") for who in "ac"
    ]
    rows, _ = _labels(store, CONTRACT, tables)
    assert {who for who, row in rows.items() if row["treated"]} == {"b", "c"}


def test_activity_after_the_merge_is_the_survivor_s(store: ContentStore) -> None:
    value: dict[str, Any] = plain(merging())
    value["label"] = {"source": "inactivity", "activity": "usage", "active_within_days": 90, "horizon_days": 30}
    for name in ("subscriptions", "churn_events"):
        del value["tables"][name]
    contract = parse_contract(value)
    tables = merge(merge(_shop(*"abcde"), "a", "b", T + 5 * DAY), "c", "d", T + 5 * DAY)
    tables["usage"] += [event("a", "x1", T + 8 * DAY), event("c", "x2", T + 2 * DAY), event("e", "x3", T + 40 * DAY)]
    rows, gone = _labels(store, contract, tables)
    assert {who: row["outcome"] for who, row in rows.items()} == {
        "a": "retained",
        "b": "retained",
        "c": "retained",
        "d": "voluntary",
        "e": "voluntary",
    }
    assert gone == ["a", "c", "d"], "e has come back after its window"
    silent = merge(_shop(*"ab"), "a", "b", T + 5 * DAY)
    rows, _ = _labels(store, contract, silent)
    assert {who: row["outcome"] for who, row in rows.items()} == {"a": "merged", "b": "voluntary"}
