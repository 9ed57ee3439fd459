"""A shop's folder of daily files: ids, zones, returns, and a day that comes later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from churn_platform.features.assemble import assemble
from churn_platform.features.labels import label_months
from churn_platform.features.observation import instant
from churn_platform.records.home import Home
from churn_platform.records.store import ContentStore
from churn_platform.records.vault import IdentityVault
from churn_platform.sources.calendar import observe_dates
from churn_platform.sources.contract import Contract, load_contract, parse_contract, plain
from churn_platform.sources.door import Admission, admit
from tests.examples.conftest import EXAMPLES

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"


def contract() -> Contract:
    value = plain(load_contract(EXAMPLES / "online_retail.yaml"))
    value["tables"]["orders"]["tolerance"] = 0.5
    return parse_contract(value)


def day(folder: Path, name: str, *lines: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.csv").write_text(HEADER + "".join(f"{line}\n" for line in lines))


def shop(folder: Path) -> None:
    day(folder, "2011-01-03", '536365,85123A,"WHITE, HANGING",6,2011-01-03 08:26:00,2.55,17850.0,United Kingdom')
    day(
        folder,
        "2011-03-31",
        # summer time began on 27 March: this is 23:30 UTC of the day before 1 April, so it is known at 2011-04-01
        "540000,22633,WARMER,2,2011-04-01 00:30:00,1.85,13995.0,France",
        "540001,22633,WARMER,1,2011-03-31 10:00:00,1.85,,France",
        "C540002,22633,WARMER,-1,2011-03-31 11:00:00,1.85,17850.0,United Kingdom",
        "540003,22633,WARMER,1,2011-03-31 12:00:00,0.0,17850.0,United Kingdom",
    )
    day(folder, "2011-07-15", "550000,84879,BIRD,8,2011-07-15 12:00:00,1.69,13995.0,France")


def admitted(folder: Path, home: Home) -> Admission:
    store = ContentStore(home.store)
    calendar = observe_dates(contract(), folder, tmp=home.tmp)
    return admit(
        contract(),
        folder,
        calendar.observations,
        store=store,
        vault=IdentityVault.open(home),
        home=home,
        calendar=calendar,
        expectations=False,
    )


def features(found: Admission, key: str, home: Home) -> tuple[str, dict[str, dict[str, Any]]]:
    store = ContentStore(home.store)
    month = assemble(contract(), {key: {"orders": found.versions["orders"][key]}}, [key], store=store)[key]
    rows = pq.read_table(store.path(month.digest)).to_pylist()
    names = IdentityVault.open(home).reveal([row["customer_id"] for row in rows])
    return month.digest, {str(name): row for name, row in zip(names, rows, strict=True)}


def test_ids_zones_and_returns(tmp_path: Path) -> None:
    folder, home = tmp_path / "shop", Home.open(tmp_path / "home")
    shop(folder)
    found = admitted(folder, home)
    assert found.calendar.observations == tuple(f"2011-0{month}-01" for month in range(3, 8))
    assert found.faults["orders"] == {"customer: required": 1, "unit_price: min": 1}
    _, april = features(found, "2011-04-01", home)
    assert set(april) == {"13995", "17850"}
    assert april["13995"]["days_since_last_purchase"] == 0.5 / 24
    assert april["17850"]["days_since_last_purchase"] == 87 + (15 * 60 + 34) / 1440  # the return is no purchase
    assert abs(april["17850"]["mrr"] - (6 * 2.55 - 1.85) / 3) < 1e-9  # bought 87 days before, returned since
    _, may = features(found, "2011-05-01", home)
    assert set(may) == {"13995"}  # the other has been silent for more than 90 days


def test_a_later_day_changes_no_month_before_it(tmp_path: Path) -> None:
    folder, home = tmp_path / "shop", Home.open(tmp_path / "home")
    shop(folder)
    before = admitted(folder, home)
    day(folder, "2011-08-02", "560000,84879,BIRD,1,2011-08-02 09:00:00,1.69,17850.0,United Kingdom")
    after = admitted(folder, home)
    assert after.calendar.observations == (*before.calendar.observations, "2011-08-01")
    for key in before.calendar.observations:
        assert before.digests["orders"][key] == after.digests["orders"][key]
        assert features(before, key, home)[0] == features(after, key, home)[0]
    assert admitted(folder, home).digests == after.digests


def test_labels_come_with_the_days(tmp_path: Path) -> None:
    folder, home = tmp_path / "shop", Home.open(tmp_path / "home")
    shop(folder)
    found = admitted(folder, home)
    store = ContentStore(home.store)
    populations = {key: features(found, key, home)[0] for key in ("2011-04-01", "2011-05-01")}
    labels = label_months(
        contract(),
        {"orders": found.current["orders"]},
        list(populations),
        as_of=found.calendar.as_of,
        populations=populations,
        store=store,
    )
    outcomes = {}
    for key, month in labels.items():
        rows = pq.read_table(store.path(month.digest)).to_pylist()
        names = IdentityVault.open(home).reveal([row["customer_id"] for row in rows])
        outcomes[key] = {str(name): row["outcome"] for name, row in zip(names, rows, strict=True)}
    # 13995 buys again on 15 July: after the 90 days from 1 April, and within those from 1 May, which are not over yet
    assert outcomes == {
        "2011-04-01": {"13995": "voluntary", "17850": "voluntary"},
        "2011-05-01": {"13995": "immature"},
    }
    assert instant("2011-07-01") <= found.calendar.as_of
