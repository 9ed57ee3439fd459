"""Labels: every outcome, the edges of the window, what was recorded when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from churn_platform.errors import FeatureError
from churn_platform.features.labels import LabelMonth, label_months, mature
from churn_platform.features.observation import instant
from churn_platform.records.store import ContentStore
from churn_platform.sources.contract import Contract
from tests.features.data import Row, Tables, relational

KEY = "2024-06-01"
T = instant(KEY)
DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
AS_OF = datetime.fromisoformat("2024-09-15")


def left(who: str, effective: datetime, kind: str = "voluntary", recorded: datetime | None = None) -> Row:
    return {
        "customer_id": who,
        "row_id": f"{who}{effective}{kind}",
        "event_time": effective,
        "ingested_at": recorded or effective + DAY,
        "kind": kind,
    }


def treat(who: str, delivered: datetime | None, arm: str = "treated") -> Row:
    at = T - 40 * DAY
    return {
        "customer_id": who,
        "row_id": f"t{who}",
        "event_time": at,
        "ingested_at": (delivered or at) + MICROSECOND,
        "delivered_at": delivered,
        "arm": arm,
    }


def label(
    store: ContentStore,
    events: list[Row],
    *,
    people: str = "abcdefghij",
    treatments: list[Row] | None = None,
    as_of: datetime = AS_OF,
    contract: Contract | None = None,
) -> tuple[LabelMonth, dict[str, dict[str, Any]]]:
    contract = contract or relational()
    frame = pa.table({"customer_id": list(people), "mrr": [float(i) for i in range(len(people))]})
    with store.temporary() as path:
        pq.write_table(frame, path)
        population = store.put_file(path, move=True)
    tables = Tables(contract, store, {"churn_events": events, "interventions": treatments or []})
    names = [name for name in ("churn_events", "interventions") if name in contract.tables]
    versions = {name: tables.version(name, f"{AS_OF:%Y-%m-%d}") for name in names}
    month = label_months(contract, versions, [KEY], as_of=as_of, populations={KEY: population}, store=store)[KEY]
    rows = pq.read_table(store.path(month.digest)).to_pylist()
    assert [row["customer_id"] for row in rows] == sorted(people)
    return month, {row["customer_id"]: row for row in rows}


def test_every_outcome(store: ContentStore) -> None:
    month, rows = label(
        store,
        [
            left("a", T + 5 * DAY),
            left("b", T + 5 * DAY, "involuntary"),
            left("c", T - 2 * DAY, recorded=T + DAY),
            left("d", T),
            left("e", T + MICROSECOND),
            left("f", T + 30 * DAY),
            left("g", T + 30 * DAY + MICROSECOND),
            left("h", T + 20 * DAY, "involuntary"),
            left("h", T + 25 * DAY, "voluntary"),
            left("i", T - 9 * DAY, recorded=T - 8 * DAY),
        ],
    )
    assert {who: (row["outcome"], row["label"]) for who, row in rows.items()} == {
        "a": ("voluntary", 1),
        "b": ("involuntary", None),
        "c": ("left_before", None),
        "d": ("left_before", None),
        "e": ("voluntary", 1),
        "f": ("voluntary", 1),
        "g": ("retained", 0),
        "h": ("involuntary", None),  # the first departure decides
        "i": ("retained", 0),  # known at t, and a customer again: it says nothing of the window
        "j": ("retained", 0),
    }
    assert month == LabelMonth(KEY, month.digest, rows=10, positives=3, censored=4, mature=True)
    assert rows["c"]["mrr"] == 2.0
    assert rows["a"]["observation_date"] == KEY
    schema = pq.read_schema(store.path(month.digest))
    assert schema.names == [
        "customer_id",
        "observation_date",
        "outcome",
        "label",
        "mrr",
        "treated",
        "departed",
        "so_far",
    ]
    assert schema.field("label").type == pa.int8()


def test_the_gap_moves_the_window(store: ContentStore) -> None:
    contract = relational(gap_days=10, horizon_days=20)
    _, rows = label(
        store,
        [
            left("a", T + 10 * DAY),
            left("b", T + 10 * DAY + MICROSECOND),
            left("c", T + 30 * DAY),
            left("d", T + 30 * DAY + MICROSECOND),
        ],
        contract=contract,
    )
    outcomes = [rows[who]["outcome"] for who in "abcd"]
    assert outcomes == ["left_before", "voluntary", "voluntary", "retained"]


def test_labels_mature_after_horizon_and_delay(store: ContentStore) -> None:
    certain = T + 37 * DAY
    assert mature(relational(), KEY, certain)
    assert not mature(relational(), KEY, certain - MICROSECOND)
    assert not mature(relational(gap_days=1), KEY, certain)
    month, rows = label(store, [left("a", T + DAY), left("b", T - DAY, recorded=T + DAY)], as_of=certain - MICROSECOND)
    assert not month.mature
    assert (month.positives, month.censored) == (0, 0)
    assert {row["outcome"] for row in rows.values()} == {"immature", "left_before"}
    assert rows["b"]["outcome"] == "left_before"
    assert {row["label"] for row in rows.values()} == {None}


def test_what_is_recorded_after_as_of_does_not_count(store: ContentStore) -> None:
    event = left("a", T + DAY, recorded=T + 60 * DAY)
    assert label(store, [event], as_of=T + 50 * DAY)[1]["a"]["outcome"] == "retained"
    assert label(store, [event], as_of=T + 60 * DAY)[1]["a"]["outcome"] == "voluntary"


def test_customers_under_treatment_are_marked(store: ContentStore) -> None:
    _, rows = label(
        store,
        [],
        treatments=[
            treat("a", T + DAY),
            treat("b", T + DAY, arm="control"),
            treat("c", None),
            treat("d", T + 30 * DAY),
            treat("e", T + 31 * DAY),
            treat("f", T - 29 * DAY),
            treat("g", T - 30 * DAY),
        ],
    )
    assert {who for who, row in rows.items() if row["treated"]} == {"a", "d", "f"}


def test_without_interventions_nobody_is_treated(store: ContentStore) -> None:
    _, rows = label(store, [left("a", T + DAY)], contract=relational(without=["interventions"]))
    assert not any(row["treated"] for row in rows.values())
    assert rows["a"]["label"] == 1


def test_kinds_are_the_contract_s(store: ContentStore) -> None:
    contract = relational(voluntary=["cancelled", "downgraded"], involuntary=["unpaid"])
    events = [left("a", T + DAY, "cancelled"), left("b", T + DAY, "unpaid"), left("c", T + DAY, "downgraded")]
    _, rows = label(store, events, contract=contract)
    assert [rows[who]["outcome"] for who in "abc"] == ["voluntary", "involuntary", "voluntary"]
    with pytest.raises(FeatureError, match="merged, which the contract names neither"):
        label(store, [left("a", T + DAY, "merged")], contract=contract)


def test_bad_input_is_named(store: ContentStore) -> None:
    contract = relational()
    with pytest.raises(FeatureError, match="timezone"):
        label_months(contract, {}, [KEY], as_of=AS_OF.replace(tzinfo=UTC), populations={}, store=store)
    with pytest.raises(FeatureError, match="no version of the table churn_events"):
        label_months(contract, {}, [KEY], as_of=AS_OF, populations={}, store=store)
    versions = {name: Tables(contract, store, {}).version(name, KEY) for name in ("churn_events", "interventions")}
    with pytest.raises(FeatureError, match="no feature table for 2024-06-01"):
        label_months(contract, versions, [KEY], as_of=AS_OF, populations={}, store=store)


def test_who_has_left_since_is_marked_though_the_month_is_not_mature(store: ContentStore) -> None:
    now = T + 20 * DAY
    _, rows = label(
        store,
        [
            left("a", T + 5 * DAY),
            left("b", T - DAY, "involuntary", recorded=T + DAY),
            left("c", T + 25 * DAY, recorded=T + 10 * DAY),  # has given notice, and is still a customer
            left("d", T + 5 * DAY, recorded=T + 30 * DAY),
        ],
        as_of=now,
    )
    assert {who for who, row in rows.items() if row["departed"]} == {"a", "b"}
    assert {who: row["so_far"] for who, row in rows.items() if row["so_far"]} == {"a": "voluntary", "c": "voluntary"}
    assert {row["label"] for row in rows.values()} == {None}
