"""Values with a time from when and until when they are true."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from churn_platform.errors import ContractError, DataFaultError
from churn_platform.sources.contract import parse_contract
from tests.sources import company
from tests.sources.company import at
from tests.sources.conftest import Door

MONTHS = ("2024-02-01", "2024-03-01", "2024-04-01", "2024-05-01", "2024-06-01")
NEVER = pd.NaT


def contract(**options: Any) -> Any:
    def change(value: dict[str, Any]) -> None:
        value["tables"]["accounts"]["columns"] = {
            "industry": {"type": "category", "temporality": "immutable"},
            "tier": {"type": "category", "effective": ["tier_from", "tier_to"], **options},
        }
        value["tables"]["accounts"]["tolerance"] = 0.5

    return company.contract(change)


def source(folder: Path, rows: list[tuple[str, datetime, str, Any, Any]]) -> Path:
    frames = company.frames(accounts=4, days=170)
    frames["accounts"] = pd.DataFrame(
        [
            {
                "account_id": account,
                "created_at": at(2024, 1, 1),
                "ingested_at": known,
                "industry": "retail",
                "tier": tier,
                "tier_from": begin,
                "tier_to": end,
            }
            for account, known, tier, begin, end in rows
        ]
    )
    written = company.write(frames, folder)
    accounts = pd.read_parquet(written / "accounts.parquet")
    accounts = accounts.astype({"tier_from": "datetime64[us]", "tier_to": "datetime64[us]"})
    accounts.to_parquet(written / "accounts.parquet", index=False)
    return written


def seen(door: Door, folder: Path) -> dict[str, dict[str, Any]]:
    """Tier of each account at each month, as its newest revision known then says."""
    admission = door.admit(contract(), folder, MONTHS, tables=["accounts"])
    found: dict[str, dict[str, Any]] = {}
    for month, version in admission.versions["accounts"].items():
        for row in door.rows(version):
            if row["ingested_at"] <= pd.Timestamp(month):
                found.setdefault(month, {})[row["row_id"]] = row["tier"]
    return {month: dict(enumerate(sorted(map(str, tiers.values())))) for month, tiers in found.items()}


@pytest.mark.parametrize(
    ("begin", "end", "wanted"),
    [
        (at(2024, 2, 15), at(2024, 4, 15), [None, "gold", "gold", None, None]),
        (at(2024, 1, 1), NEVER, ["gold"] * 5),
        (NEVER, at(2024, 3, 1), ["gold", None, None, None, None]),
        (at(2024, 3, 1), at(2030, 1, 1), [None, "gold", "gold", "gold", "gold"]),
        (at(2024, 5, 20), at(2024, 5, 25), [None] * 5),
    ],
)
def test_a_value_is_seen_while_it_is_true(
    door: Door, tmp_path: Path, begin: Any, end: Any, wanted: list[str | None]
) -> None:
    folder = source(tmp_path / "source", [("a", at(2024, 1, 2), "gold", begin, end)])
    assert [tiers[0] for tiers in seen(door, folder).values()] == [str(tier) for tier in wanted]


def test_a_value_is_not_seen_before_its_row(door: Door, tmp_path: Path) -> None:
    folder = source(tmp_path / "source", [("a", at(2024, 3, 20), "gold", at(2024, 1, 5), NEVER)])
    assert seen(door, folder) == {"2024-04-01": {0: "gold"}, "2024-05-01": {0: "gold"}, "2024-06-01": {0: "gold"}}


def test_an_end_that_is_filled_in_later_changes_nothing_before_it(door: Door, tmp_path: Path) -> None:
    digests = []
    for name, end in (("open", NEVER), ("closed", at(2024, 4, 15))):
        folder = source(tmp_path / name, [("a", at(2024, 1, 2), "gold", at(2024, 1, 2), end)])
        digests.append(door.admit(contract(), folder, MONTHS, tables=["accounts"]).digests["accounts"])
    assert [digests[0][m] == digests[1][m] for m in MONTHS] == [True, True, True, False, False]


def test_versions_of_an_account_follow_each_other(door: Door, tmp_path: Path) -> None:
    def change(value: dict[str, Any]) -> None:
        value["tables"]["accounts"] |= {"key": ["account_id", "tier_from"], "tolerance": 0.5}
        value["tables"]["accounts"]["columns"] = {
            "tier": {"type": "category", "effective": ["tier_from", "tier_to"]},
        }

    folder = source(
        tmp_path / "source",
        [
            ("a", at(2024, 1, 2), "basic", at(2024, 1, 2), at(2024, 3, 10)),
            ("a", at(2024, 3, 10), "gold", at(2024, 3, 10), NEVER),
        ],
    )
    admission = door.admit(company.contract(change), folder, MONTHS, tables=["accounts"])
    for month, wanted in zip(MONTHS, ["basic", "basic", "gold", "gold", "gold"], strict=True):
        newest: dict[str, Any] = {}
        for row in door.rows(admission.versions["accounts"][month]):
            newest[row["row_id"]] = row["tier"]
        assert {tier for tier in newest.values() if tier} == {wanted}


def test_the_times_themselves_do_not_pass(door: Door, tmp_path: Path) -> None:
    folder = source(tmp_path / "source", [("a", at(2024, 1, 2), "gold", at(2024, 1, 2), at(2024, 4, 1))])
    admission = door.admit(contract(), folder, MONTHS, tables=["accounts"])
    assert set(door.rows(admission.current["accounts"])[0]) == {
        "customer_id", "row_id", "event_time", "ingested_at", "industry", "tier",
    }  # fmt: skip


def test_an_end_before_the_start_is_held_back(door: Door, tmp_path: Path) -> None:
    good = [(f"a{i}", at(2024, 1, 2), "gold", at(2024, 1, 2), NEVER) for i in range(3)]
    bad = ("b", at(2024, 1, 2), "gold", at(2024, 3, 1), at(2024, 2, 1))
    admission = door.admit(contract(), source(tmp_path / "source", [*good, bad]), MONTHS, tables=["accounts"])
    assert admission.faults["accounts"] == {"tier_to: order": 1}
    with pytest.raises(DataFaultError, match="tier_to must not lie before tier_from"):
        door.admit(contract(), source(tmp_path / "all", [bad]), MONTHS, tables=["accounts"])


def test_what_a_contract_may_not_say() -> None:
    with pytest.raises(ContractError, match="state only one of temporality and effective"):
        contract(temporality="immutable")
    flat = {
        "shape": "snapshot",
        "label": {"source": "column", "column": "left", "positive": "1"},
        "tables": {
            "snapshot": {"path": "f.csv", "columns": {"a": {"type": "number", "effective": ["b", "c"]}}},
        },
    }
    with pytest.raises(ContractError, match="a flat file has no history"):
        parse_contract(flat)
