"""Files that come twice, late, or corrected: nothing of an earlier month may move."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from churn_platform.errors import DataFaultError
from churn_platform.sources.contract import Contract, parse_contract
from churn_platform.sources.tables import TableVersion
from tests.sources import company
from tests.sources.company import at
from tests.sources.conftest import Door

MONTHS = ("2024-02-01", "2024-03-01", "2024-04-01", "2024-05-01", "2024-06-01")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return company.write(company.frames(), tmp_path / "source")


def _shop(**table: Any) -> Contract:
    """A shop with nothing but daily files of purchases."""
    return parse_contract(
        {
            "contract_version": 1,
            "shape": "relational",
            "label": {"source": "inactivity", "activity": "orders", "horizon_days": 30},
            "tables": {
                "orders": {
                    "path": "*.csv",
                    "entity": "customer",
                    "event_time": "day",
                    "columns": {"amount": {"type": "number"}},
                    **table,
                }
            },
        }
    )


def _day(folder: Path, name: str, *rows: tuple[Any, ...], header: str = "customer,day,amount") -> None:
    folder.mkdir(exist_ok=True)
    lines = [header, *(",".join(str(value) for value in row) for row in rows)]
    (folder / name).write_text("\n".join(lines) + "\n")


def _known(door: Door, version: TableVersion, t: Any) -> list[float]:
    latest: dict[str, dict[str, Any]] = {}
    for row in door.rows(version):
        if row["event_time"] <= t and row["ingested_at"] <= t:
            latest[row["row_id"]] = row
    return sorted(row["amount"] for row in latest.values())


def test_the_same_files_under_two_names_change_nothing(door: Door, source: Path) -> None:
    once = door.admit(company.contract(), source, MONTHS)
    for file in list((source / "usage").iterdir()):
        shutil.copy(file, source / "usage" / f"again-{file.name}")
    twice = door.admit(company.contract(), source, MONTHS)
    assert twice.digests == once.digests
    assert twice.dropped["usage"] == once.rows["usage"]
    assert twice.corrected["usage"] == 0


def test_without_a_key_too_equal_rows_of_one_file_stay_two(door: Door, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    _day(shop, "2024-01-05.csv", ("a", "2024-01-05", 3), ("a", "2024-01-05", 3), ("b", "2024-01-05", 4))
    _day(shop, "2024-03-01.csv", ("a", "2024-03-01", 3), ("b", "2024-04-02", 4))
    once = door.admit(_shop(), shop, MONTHS)
    assert len(door.rows(once.current["orders"])) == 5
    shutil.copy(shop / "2024-01-05.csv", shop / "2024-01-05 (copy).csv")
    shutil.copy(shop / "2024-03-01.csv", shop / "zz.csv")
    twice = door.admit(_shop(), shop, MONTHS)
    assert twice.digests == once.digests
    assert twice.dropped["orders"] == 5


def test_a_late_file_adds_to_the_month_in_which_it_came(door: Door, source: Path) -> None:
    before = door.admit(company.contract(), source, MONTHS)
    late = pd.read_parquet(source / "usage" / "2024-03.parquet").head(3)
    late["ingested_at"] = pd.Timestamp("2024-05-12 08:00")
    late["usage_date"] = pd.Timestamp("2024-02-15 12:00") + pd.to_timedelta(range(3), unit="s")
    late.to_parquet(source / "usage" / "late.parquet", index=False)
    after = door.admit(company.contract(), source, MONTHS)
    for month in MONTHS[:-1]:
        assert after.digests["usage"][month] == before.digests["usage"][month]
    assert after.versions["usage"]["2024-06-01"].rows == before.versions["usage"]["2024-06-01"].rows + 3


def test_a_corrected_file_holds_from_its_arrival_on(door: Door, source: Path) -> None:
    before = door.admit(company.contract(), source, MONTHS)
    rows = pd.read_parquet(source / "usage" / "2024-03.parquet").head(4)
    arrived = pd.Timestamp("2024-05-12 08:00")
    rows.assign(logins=777, ingested_at=arrived).to_parquet(source / "usage" / "corrected.parquet", index=False)
    after = door.admit(company.contract(), source, MONTHS)
    assert after.corrected["usage"] == 4
    assert after.quarantined["usage"] == 0
    for month in MONTHS[:-1]:
        assert after.digests["usage"][month] == before.digests["usage"][month]
    revised = door.rows(after.versions["usage"]["2024-06-01"], "logins = 777")
    assert len(revised) == 4
    assert {row["ingested_at"] for row in revised} == {arrived.to_pydatetime()}
    assert {row["row_id"] for row in revised} <= {row["row_id"] for row in door.rows(before.current["usage"])}


def test_without_an_arrival_a_correction_is_known_when_its_files_newest_row_is(door: Door, tmp_path: Path) -> None:
    shop, keyed = tmp_path / "shop", {"key": ["line"]}
    names = "customer,day,amount,line"
    _day(shop, "2024-01-05.csv", ("a", "2024-01-05", 3, 1), ("b", "2024-01-06", 4, 2), header=names)
    _day(shop, "2024-03-20.csv", ("b", "2024-03-20", 5, 3), header=names)
    before = door.admit(_shop(**keyed), shop, MONTHS)
    _day(shop, "2024-03-21.csv", ("a", "2024-01-05", 30, 1), ("b", "2024-03-21", 6, 4), header=names)
    after = door.admit(_shop(**keyed), shop, MONTHS)
    for month in ("2024-02-01", "2024-03-01"):
        assert after.digests["orders"][month] == before.digests["orders"][month]
    assert _known(door, after.current["orders"], at(2024, 3, 20)) == [3, 4, 5]
    assert _known(door, after.current["orders"], at(2024, 3, 21)) == [4, 5, 6, 30]
    # the first file again, under a name that sorts last, does not undo it
    shutil.copy(shop / "2024-01-05.csv", shop / "zz.csv")
    assert door.admit(_shop(**keyed), shop, MONTHS).digests == after.digests


def test_what_one_file_says_twice_at_one_time_is_no_revision(door: Door, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    _day(shop, "1.csv", ("a", "2024-01-05", 3, 1), ("a", "2024-01-05", 4, 1), header="customer,day,amount,line")
    _day(shop, "2.csv", ("b", "2024-03-05", 3, 2), header="customer,day,amount,line")
    with pytest.raises(DataFaultError, match="line must be unique"):
        door.admit(_shop(key=["line"]), shop, MONTHS)


def test_a_value_that_is_known_later_may_be_corrected_too(door: Door, source: Path) -> None:
    tickets = pd.read_csv(source / "tickets.csv")
    one = tickets[tickets["csat"].notna()].head(1)
    again = one.assign(ingested_at="2024-06-01 12:00:00", csat=1 + one["csat"] % 5)
    pd.concat([tickets, again]).to_csv(source / "tickets.csv", index=False)
    admission = door.admit(company.contract(), source, MONTHS, tables=["tickets"])
    ids = {row["row_id"] for row in door.rows(admission.current["tickets"], "ingested_at = '2024-06-01 12:00:00'")}
    assert len(ids) == 1
    story = [row["csat"] for row in door.rows(admission.current["tickets"], f"row_id = '{ids.pop()}'")]
    assert story[0] is None
    assert story[-2:] == [float(one["csat"].iloc[0]), float(again["csat"].iloc[0])]


def test_features_take_the_newest_revision(door: Door, tmp_path: Path) -> None:
    """A correction must not count twice where the table has no column that is known later."""
    from churn_platform.features.assemble import assemble

    source = company.write(company.frames(), tmp_path / "source")

    def features(month: str) -> pd.DataFrame:
        admission = door.admit(company.contract(), source, [month])
        versions = {month: {name: known[month] for name, known in admission.versions.items()}}
        made = assemble(company.contract(), versions, [month], store=door.store)
        return pd.read_parquet(door.store.path(made[month].digest)).sort_values("customer_id").reset_index(drop=True)

    before = features("2024-06-01")
    arrived = pd.Timestamp("2024-05-31 08:00")
    may = pd.read_parquet(source / "usage" / "2024-05.parquet")
    may = may[may["ingested_at"] < arrived].assign(ingested_at=arrived, minutes=lambda rows: rows["minutes"] + 1.0)
    may.to_parquet(source / "usage" / "corrected.parquet", index=False)
    after = features("2024-06-01")
    counts = [name for name in before.columns if name.startswith(("logins", "usage_days", "active_days"))]
    assert counts
    pd.testing.assert_frame_equal(before[counts], after[counts])
    assert not before.equals(after)
