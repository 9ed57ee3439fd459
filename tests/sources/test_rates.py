"""Amounts in other currencies, converted by the rate of their own day that was known then."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from churn_platform.errors import ContractError, DataFaultError, SourceMissingError
from churn_platform.records.home import Home
from churn_platform.sources.check import check_source
from churn_platform.sources.contract import dump_contract, load_contract
from churn_platform.sources.location import load_location, save_location
from tests.sources import company
from tests.sources.company import at
from tests.sources.conftest import Door

MONTHS = ("2024-02-01", "2024-03-01", "2024-04-01", "2024-05-01", "2024-06-01")
RATES = [
    ("2024-01-01", "EUR", 1.1),
    ("2024-02-01", "eur", 1.2),
    ("2024-03-01", "EUR", 1.3),
    ("2024-01-01", "JPY", 0.01),
]


def contract(currency: str = "EUR", **mrr: Any) -> Any:
    def change(value: dict[str, Any]) -> None:
        value["rates"] = {"path": "rates.csv", "date": "day", "rate": "usd"}
        subscriptions = value["tables"]["subscriptions"]
        subscriptions |= {"currency": currency, "tolerance": 0.5}
        subscriptions["columns"]["mrr"] = {"type": "number", **mrr}
        subscriptions["columns"]["discount"] = {"type": "number"}

    return company.contract(change)


def source(
    folder: Path,
    rows: list[dict[str, Any]],
    rates: list[tuple[str, str, Any]] = RATES,
    header: str = "day,currency,usd",
) -> Path:
    frames = company.frames(accounts=20, days=170)
    base = frames["subscriptions"].iloc[0].to_dict() | {"ended_at": pd.NaT, "ended_recorded_at": pd.NaT}
    frames["subscriptions"] = pd.DataFrame(
        [
            {**base, "discount": 0.5, "money": "EUR", "subscription_version_id": f"v{i}", **row}
            for i, row in enumerate(rows)
        ]
    )
    company.write(frames, folder)
    (folder / "rates.csv").write_text("\n".join([header, *(f"{d},{c},{r}" for d, c, r in rates)]) + "\n")
    return folder


def row(started: datetime, mrr: float | None = 100.0, known: datetime | None = None, **values: Any) -> dict[str, Any]:
    return {"started_at": started, "ingested_at": known or started, "mrr": mrr, **values}


def amounts(door: Door, folder: Path, **options: Any) -> list[float | None]:
    admission = door.admit(contract(**options), folder, MONTHS, tables=["subscriptions"])
    rows = door.rows(admission.current["subscriptions"])
    assert {r["discount"] for r in rows} == {0.5}, "a share is no amount"
    return [r["mrr"] for r in sorted(rows, key=lambda r: (r["event_time"], r["ingested_at"]))]


def test_the_rate_of_the_events_own_day(door: Door, tmp_path: Path) -> None:
    rows = [
        row(at(2024, 1, 1)),
        row(at(2024, 1, 31, 23)),
        row(at(2024, 2, 1)),
        row(at(2024, 5, 1)),
        row(at(2024, 5, 2), None),
    ]
    assert amounts(door, source(tmp_path / "s", rows)) == pytest.approx([110, 110, 120, 130, None])  # type: ignore[comparison-overlap]


def test_a_rate_of_days_to_come_was_not_known(door: Door, tmp_path: Path) -> None:
    # announced in January for March: in January nobody knew the rate of March
    assert amounts(door, source(tmp_path / "s", [row(at(2024, 3, 5), known=at(2024, 1, 10))])) == pytest.approx([110])


def test_a_column_of_currencies(door: Door, tmp_path: Path) -> None:
    rows = [row(at(2024, 2, 2), money=code) for code in ("EUR", "USD", "jpy", "JPY")]
    found = amounts(door, source(tmp_path / "s", rows), currency="money")
    assert sorted(f for f in found if f is not None) == pytest.approx([1, 1, 100, 120])


def test_later_rates_change_nothing(door: Door, tmp_path: Path) -> None:
    rows = [row(at(2024, 1, 5)), row(at(2024, 4, 5))]
    digests = []
    for name, rates in (("a", RATES), ("b", [*RATES, ("2024-04-01", "EUR", 9.0)])):
        admission = door.admit(contract(), source(tmp_path / name, rows, rates), MONTHS, tables=["subscriptions"])
        digests.append(admission.digests["subscriptions"])
    assert [digests[0][m] == digests[1][m] for m in MONTHS] == [True, True, True, False, False]


def test_no_rate_is_a_fault_with_the_reason(door: Door, tmp_path: Path) -> None:
    rows = [row(at(2024, 1, 5)), row(at(2024, 1, 5), money="GBP"), row(at(2024, 1, 5), None, money="GBP")]
    folder = source(tmp_path / "s", [*rows, row(at(2024, 1, 5), money="")])
    admission = door.admit(contract("money"), folder, MONTHS, tables=["subscriptions"])
    assert admission.faults["subscriptions"] == {"mrr: rate": 2}
    held = pd.read_parquet(admission.quarantine_files["subscriptions"])
    assert held["reason"].str.contains("must have an exchange rate").all()
    early = source(tmp_path / "early", [row(at(2023, 12, 30))])
    with pytest.raises(DataFaultError, match="mrr must have an exchange rate") as raised:
        door.admit(contract(), early, MONTHS, tables=["subscriptions"])
    assert raised.value.rule == "rate"
    report = check_source(early, contract())
    assert any(f.fault and f.fault.rule == "rate" for f in report.findings)


def test_money_can_be_stated(door: Door, tmp_path: Path) -> None:
    folder = source(tmp_path / "s", [row(at(2024, 1, 5))])
    assert amounts(door, folder, money=False) == pytest.approx([100])
    with pytest.raises(ContractError, match="money is for number"):
        company.contract(lambda v: v["tables"]["usage"]["columns"]["logins"].update(money=True))


@pytest.mark.parametrize(
    ("rates", "says"),
    [
        ([("2024-01-01", "EUR", 1.1), ("2024-01-01", "EUR", 1.2)], "two different rates of EUR on 2024-01-01"),
        ([("2024-01-01", "EUR", 0)], "1 rows without a day, a currency or a rate above 0"),
        ([("soon", "EUR", 1.1)], "1 rows without a day"),
    ],
)
def test_bad_rate_tables(door: Door, tmp_path: Path, rates: list[tuple[str, str, Any]], says: str) -> None:
    with pytest.raises(DataFaultError, match=says) as raised:
        door.admit(contract(), source(tmp_path / "s", [row(at(2024, 1, 5))], rates), MONTHS, tables=["subscriptions"])
    assert raised.value.mend


def test_no_rate_table_and_no_such_column(door: Door, tmp_path: Path) -> None:
    folder = source(tmp_path / "s", [row(at(2024, 1, 5))], header="day,currency,rate")
    with pytest.raises(ContractError, match=r"rates\.rate"):
        door.admit(contract(), folder, MONTHS, tables=["subscriptions"])
    (folder / "rates.csv").unlink()
    with pytest.raises(SourceMissingError):
        door.admit(contract(), folder, MONTHS, tables=["subscriptions"])
    with pytest.raises(ContractError, match=r"tables\.subscriptions\.currency: amounts in another currency than USD"):
        company.contract(lambda v: v["tables"]["subscriptions"].update(currency="EUR"))


def test_the_contract_survives_writing_and_a_new_rate_asks_for_the_table_again(tmp_path: Path) -> None:
    path = tmp_path / "contract.yaml"
    path.write_text(dump_contract(contract()))
    assert load_contract(path) == contract()
    assert "rates" not in dump_contract(company.contract())
    folder = source(tmp_path / "s", [row(at(2024, 1, 5))])
    home = Home.open(tmp_path / "home")
    save_location(home, "churn", folder, path.read_text())
    before = load_location(home, "churn").fingerprints()
    with (folder / "rates.csv").open("a") as stream:
        stream.write("2024-04-01,EUR,1.4\n")
    after = load_location(home, "churn").fingerprints()
    assert [name for name in before if before[name] != after[name]] == ["subscriptions"], json.dumps(after)
