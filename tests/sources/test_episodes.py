"""Customers who come back, subscriptions that end without a successor, accounts that are merged."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from churn_platform.errors import ContractError, FeatureError
from churn_platform.features.assemble import assemble
from churn_platform.features.labels import label_months
from churn_platform.sources.contract import Contract, dump_contract, parse_contract
from tests.sources import company
from tests.sources.company import at
from tests.sources.conftest import Door

MONTH = "2024-04-01"
T = at(2024, 4, 1)


def by_ends(grace: int | None = None, **label: Any) -> Contract:
    def change(value: dict[str, Any]) -> None:
        del value["tables"]["churn_events"]
        value["label"] = {"source": "subscription_end", **label}
        if grace is not None:
            value["label"]["grace_days"] = grace
        for table in value["tables"].values():
            table["tolerance"] = 0.9
        if "kind_column" in label:
            value["tables"]["subscriptions"]["columns"]["kind"] = {"type": "category", "known_at": "ended_recorded_at"}

    return company.contract(change)


Sub = tuple[str, str, datetime, datetime | None]
"""Account, subscription, start, end."""


def write(
    folder: Path, subs: list[Sub], *, recorded: dict[str, datetime] | None = None, **tables: list[dict[str, Any]]
) -> Path:
    frames = company.frames(accounts=4, days=300)
    start = at(2024, 1, 1)
    frames["accounts"] = pd.DataFrame(
        [
            {"account_id": a, "created_at": start, "ingested_at": start, "industry": "retail", "initial_size": "small",
             "plan": "pro", "owner": "x", "merged_into": None, "merged_at": pd.NaT, "parent_account_id": None}
            | next((row for row in tables.get("accounts", []) if row["account_id"] == a), {})
            for a in sorted({sub[0] for sub in subs})
        ]
    )  # fmt: skip
    frames["accounts"]["merged_at"] = frames["accounts"]["merged_at"].astype("datetime64[us]")
    frames["subscriptions"] = pd.DataFrame(
        [
            {"account_id": a, "subscription_version_id": f"v{i}", "subscription_id": s, "started_at": begin,
             "ingested_at": begin, "plan": "pro", "n_seats": 3, "mrr": 10.0, "ended_at": end, "kind": None,
             "ended_recorded_at": (recorded or {}).get(s, end)}
            for i, (a, s, begin, end) in enumerate(subs)
        ]
    )  # fmt: skip
    for name in ("ended_at", "ended_recorded_at"):
        frames["subscriptions"][name] = frames["subscriptions"][name].astype("datetime64[us]")
    if "kinds" in tables:
        kinds = {row["subscription_id"]: row["kind"] for row in tables["kinds"]}
        frames["subscriptions"]["kind"] = frames["subscriptions"]["subscription_id"].map(kinds)
    columns = ["account_id", "churn_event_id", "effective_at", "recorded_at", "kind"]
    frames["churn_events"] = pd.DataFrame(tables.get("churn_events", []), columns=columns).astype(
        {"effective_at": "datetime64[us]", "recorded_at": "datetime64[us]"}
    )
    return company.write(frames, folder)


def look(door: Door, contract: Contract, source: Path) -> dict[str, dict[str, Any]]:
    """Account → outcome, label and tenure at the observation date."""
    admission = door.admit(contract, source, [MONTH])
    made = assemble(contract, {MONTH: {t: v[MONTH] for t, v in admission.versions.items()}}, [MONTH], store=door.store)
    labels = label_months(
        contract,
        admission.current,
        [MONTH],
        as_of=at(2024, 9, 1),
        populations={MONTH: made[MONTH].digest},
        store=door.store,
    )
    features = pq.read_table(door.store.path(made[MONTH].digest)).to_pandas().set_index("customer_id")
    rows = pq.read_table(door.store.path(labels[MONTH].digest)).to_pandas().set_index("customer_id")
    names = dict(zip(rows.index, door.vault.reveal(list(rows.index)), strict=True))
    return {
        str(names[key]): {"outcome": row.outcome, "label": row.label, "tenure": features.tenure_days[key]}
        for key, row in rows.iterrows()
    }


def outcomes(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: row["outcome"] for name, row in found.items()}


# A label by the end of subscriptions


def test_an_end_without_a_successor_is_a_departure(door: Door, tmp_path: Path) -> None:
    jan = at(2024, 1, 1)
    source = write(
        tmp_path,
        [
            ("stays", "a", jan, None),
            ("leaves", "b", jan, at(2024, 4, 10)),
            ("renews", "c1", jan, at(2024, 4, 10)),
            ("renews", "c2", at(2024, 4, 15), None),
            ("too late", "d1", jan, at(2024, 4, 10)),
            ("too late", "d2", at(2024, 4, 25), None),
            ("keeps one", "e1", jan, at(2024, 4, 10)),
            ("keeps one", "e2", at(2024, 2, 1), None),
            ("one after the other", "f1", jan, at(2024, 4, 10)),
            ("one after the other", "f2", jan, at(2024, 4, 20)),
            ("after the window", "g", jan, at(2024, 5, 10)),
            ("gone", "h", jan, at(2024, 3, 1)),
            ("unrecorded", "i", jan, at(2024, 3, 25)),
        ],
        recorded={"i": at(2024, 4, 5)},
    )
    found = outcomes(look(door, by_ends(7), source))
    assert found == {
        "stays": "retained",
        "leaves": "voluntary",
        "renews": "retained",
        "too late": "voluntary",
        "keeps one": "retained",
        "one after the other": "voluntary",
        "after the window": "retained",
        "unrecorded": "left_before",
    }
    assert outcomes(look(door, by_ends(20), source))["too late"] == "retained"
    assert outcomes(look(door, by_ends(0), source))["renews"] == "voluntary"


def test_ends_have_kinds_where_the_contract_names_them(door: Door, tmp_path: Path) -> None:
    jan, april = at(2024, 1, 1), at(2024, 4, 10)
    subs: list[Sub] = [("a", "a", jan, april), ("b", "b", jan, april), ("c", "c", jan, april)]
    kinds = [{"subscription_id": "a", "kind": "voluntary"}, {"subscription_id": "b", "kind": "unpaid"}]
    source = write(tmp_path, subs, kinds=kinds)
    contract = by_ends(kind_column="kind", involuntary=["unpaid"])
    assert outcomes(look(door, contract, source)) == {"a": "voluntary", "b": "involuntary", "c": "voluntary"}
    with pytest.raises(FeatureError, match="ended in the way unpaid"):
        look(door, by_ends(kind_column="kind", involuntary=["dunning"]), source)


def test_the_label_waits_for_the_grace() -> None:
    assert by_ends(20).label.mature_after_days == 30 + 20 + 7
    assert company.contract().label.mature_after_days == 37


def test_contracts_by_ends_hold_together(tmp_path: Path) -> None:
    import yaml

    contract = by_ends(3)
    assert parse_contract(yaml.safe_load(dump_contract(contract))) == contract
    assert "grace_days" not in dump_contract(company.contract())

    def keep_events(value: dict[str, Any]) -> None:
        value["label"] = {"source": "subscription_end"}

    with pytest.raises(ContractError, match="subscription_end nobody reads it"):
        company.contract(keep_events)

    def no_time(value: dict[str, Any]) -> None:
        keep_events(value)
        del value["tables"]["churn_events"]
        value["tables"]["subscriptions"]["columns"]["ended_at"] = {"type": "timestamp"}

    with pytest.raises(ContractError, match=r"subscriptions\.columns\.ended_at: label\.source says subscription_end"):
        company.contract(no_time)


# Coming back


def test_tenure_restarts_with_the_episode(door: Door, tmp_path: Path) -> None:
    source = write(
        tmp_path,
        [
            ("back", "a1", at(2024, 1, 1), at(2024, 2, 1)),
            ("back", "a2", at(2024, 3, 2), None),
            ("renewed", "b1", at(2024, 1, 1), at(2024, 2, 1)),
            ("renewed", "b2", at(2024, 2, 5), None),
            ("overlaps", "c1", at(2024, 1, 1), at(2024, 3, 20)),
            ("overlaps", "c2", at(2024, 1, 15), at(2024, 2, 1)),
            ("overlaps", "c3", at(2024, 3, 22), None),
            ("twice", "d1", at(2024, 1, 1), at(2024, 1, 10)),
            ("twice", "d2", at(2024, 2, 1), at(2024, 2, 10)),
            ("twice", "d3", at(2024, 3, 22), None),
        ],
    )
    found = look(door, by_ends(7), source)
    assert {name: row["tenure"] for name, row in found.items()} == {
        "back": 30.0, "renewed": 91.0, "overlaps": 91.0, "twice": 10.0,
    }  # fmt: skip
    assert {row["outcome"] for row in found.values()} == {"retained"}


def event(account: str, effective: datetime, recorded: datetime) -> dict[str, Any]:
    return {"account_id": account, "churn_event_id": f"e-{account}-{effective:%m%d}", "effective_at": effective,
            "recorded_at": recorded, "kind": "voluntary"}  # fmt: skip


def test_an_earlier_departure_hides_nothing_of_the_new_episode(door: Door, tmp_path: Path) -> None:
    subs: list[Sub] = [
        ("back", "a1", at(2024, 1, 1), None),
        ("back", "a2", at(2024, 3, 2), None),
        ("late", "b1", at(2024, 1, 1), None),
        ("late", "b2", at(2024, 3, 2), None),
        ("leaves again", "c1", at(2024, 1, 1), None),
        ("leaves again", "c2", at(2024, 3, 2), None),
        ("gone unrecorded", "d1", at(2024, 1, 1), None),
    ]
    feb = at(2024, 2, 1)
    events = [
        event("back", feb, at(2024, 2, 2)),
        event("late", feb, at(2024, 4, 20)),
        event("leaves again", feb, at(2024, 2, 2)),
        event("leaves again", at(2024, 4, 12), at(2024, 4, 13)),
        event("gone unrecorded", feb, at(2024, 4, 20)),
    ]

    def tolerate(value: dict[str, Any]) -> None:
        for table in value["tables"].values():
            table["tolerance"] = 0.9

    found = look(door, company.contract(tolerate), write(tmp_path, subs, churn_events=events))
    assert outcomes(found) == {
        "back": "retained",
        "late": "retained",
        "leaves again": "voluntary",
        "gone unrecorded": "left_before",
    }
    assert found["back"]["tenure"] == found["leaves again"]["tenure"] == 30.0
    assert found["late"]["tenure"] == 91.0, "at t nobody knew that he had been away"


# Accounts that belong together


def merging(value: dict[str, Any]) -> None:
    accounts = value["tables"]["accounts"]["columns"]
    accounts["merged_into"] = {"type": "text", "known_at": "merged_at"}
    accounts["parent_account_id"] = {"type": "text", "temporality": "immutable"}
    for table in value["tables"].values():
        table["tolerance"] = 0.9


def test_merged_accounts_are_no_customers_and_no_leavers(door: Door, tmp_path: Path) -> None:
    jan = at(2024, 1, 1)
    names = ("kept", "before", "inside", "left first", "left by the merge", "after")
    subs: list[Sub] = [(name, name, jan, None) for name in names]
    merged = {"before": at(2024, 3, 1), "inside": at(2024, 4, 10), "left first": at(2024, 4, 20),
              "left by the merge": at(2024, 4, 10), "after": at(2024, 6, 1)}  # fmt: skip
    accounts = [{"account_id": n, "merged_into": "kept", "merged_at": at_} for n, at_ in merged.items()]
    events = [
        event("left first", at(2024, 4, 10), at(2024, 4, 11)),
        event("left by the merge", at(2024, 4, 10, 1), at(2024, 4, 11)),
    ]
    source = write(tmp_path, subs, accounts=accounts, churn_events=events)
    found = look(door, company.contract(merging), source)
    assert outcomes(found) == {
        "kept": "retained",
        "inside": "merged",
        "left first": "voluntary",
        "left by the merge": "merged",
        "after": "retained",
    }
    assert pd.isna(found["inside"]["label"])


def test_other_accounts_are_named_by_their_pseudonyms(door: Door, tmp_path: Path) -> None:
    jan = at(2024, 1, 1)
    accounts = [
        {"account_id": "child", "parent_account_id": "mother"},
        {"account_id": "old", "merged_into": "child", "merged_at": at(2024, 3, 1)},
        {"account_id": "stray", "parent_account_id": "never seen"},
    ]
    subs: list[Sub] = [(name, name, jan, None) for name in ("mother", "child", "old", "stray")]
    admission = door.admit(company.contract(merging), write(tmp_path, subs, accounts=accounts), [MONTH])
    rows = {}
    for row in door.rows(admission.current["accounts"]):
        rows[row["customer_id"]] = row  # the newest revision stays
    names = {str(door.vault.reveal([key])[0]): key for key in rows}
    assert rows[names["child"]]["parent_account_id"] == names["mother"]
    assert rows[names["old"]]["merged_into"] == names["child"]
    assert rows[names["mother"]]["parent_account_id"] is None
    assert rows[names["stray"]]["parent_account_id"] == door.vault.find("never seen")
    for part in admission.current["accounts"].paths(door.store):
        assert not [raw for raw in (b"mother", b"never seen") if raw in part.read_bytes()]
