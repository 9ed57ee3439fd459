"""A company in three time zones, each table in its own, says the same as the same company in UTC."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from churn_platform.features.assemble import assemble
from churn_platform.features.labels import label_months
from churn_platform.features.observation import instant
from churn_platform.sources.calendar import observe_dates
from churn_platform.sources.contract import Column, Contract
from churn_platform.sources.parsing import layered, parse
from tests.sources import company
from tests.sources.conftest import Door

MONTHS = ("2024-03-01", "2024-04-01", "2024-05-01", "2024-06-01")
# the clocks of Berlin go forward on 31 March and those of New York on 10 March, both inside the data
ZONES = {
    "accounts": "Europe/Berlin",
    "subscriptions": "Asia/Tokyo",
    "usage": "America/New_York",
    "tickets": "Europe/Berlin",
    "churn_events": "America/New_York",
}


def zoned() -> Contract:
    def change(value: dict[str, Any]) -> None:
        for table, zone in ZONES.items():
            value["tables"][table]["timezone"] = zone

    return company.contract(change)


def local(frames: company.Frames, *, offsets: bool = False) -> company.Frames:
    """The same instants as clocks on the spot show them, with their offset or without."""
    made = {}
    for name, frame in frames.items():
        frame = frame.copy()
        for column in frame.columns:
            if pd.api.types.is_datetime64_any_dtype(frame[column]):
                there = frame[column].dt.tz_localize("UTC").dt.tz_convert(ZONES[name])
                frame[column] = (
                    there.map(lambda t: None if pd.isna(t) else t.isoformat())
                    if offsets
                    else there.dt.tz_localize(None)
                )
        made[name] = frame
    return made


def outcome(door: Door, contract: Contract, source: Path) -> tuple[dict[str, pd.DataFrame], dict[str, pd.DataFrame]]:
    admission = door.admit(contract, source, MONTHS)
    versions = {month: {table: found[month] for table, found in admission.versions.items()} for month in MONTHS}
    made = assemble(contract, versions, MONTHS, store=door.store)
    populations = {month: table.digest for month, table in made.items()}
    labels = label_months(
        contract, admission.current, MONTHS, as_of=admission.calendar.as_of, populations=populations, store=door.store
    )

    def read(digest: str) -> pd.DataFrame:
        return pq.read_table(door.store.path(digest)).to_pandas()

    return (
        {month: read(table.digest) for month, table in made.items()},
        {month: read(table.digest) for month, table in labels.items()},
    )


@pytest.mark.parametrize("offsets", [False, True], ids=["clock", "offset"])
def test_features_and_labels_equal_those_in_utc(door: Door, tmp_path: Path, offsets: bool) -> None:
    frames = company.frames(accounts=60, days=170)
    utc = company.write(frames, tmp_path / "utc")
    there = company.write(local(frames), tmp_path / "local")
    if offsets:  # one table is enough, and the CSV can hold them
        local(frames, offsets=True)["tickets"].to_csv(there / "tickets.csv", index=False)
    wanted, labels = outcome(door, company.contract(), utc)
    found, there_labels = outcome(door, zoned(), there)
    assert sum(len(table) for table in wanted.values()) > 100
    assert sum(table["label"].fillna(0).sum() for table in labels.values()) > 3
    for month in MONTHS:
        pd.testing.assert_frame_equal(found[month], wanted[month])
        pd.testing.assert_frame_equal(there_labels[month], labels[month])
    assert observe_dates(zoned(), there) == observe_dates(company.contract(), utc)


def test_without_its_zone_the_company_would_say_something_else(door: Door, tmp_path: Path) -> None:
    frames = company.frames(accounts=60, days=170)
    wanted, _ = outcome(door, company.contract(), company.write(frames, tmp_path / "utc"))

    def tolerate(value: dict[str, Any]) -> None:
        for table in value["tables"].values():
            table["tolerance"] = 0.5

    wrong, _ = outcome(door, company.contract(tolerate), company.write(local(frames), tmp_path / "local"))
    assert any(not wanted[month].equals(wrong[month]) for month in MONTHS)


@pytest.mark.parametrize(
    ("zone", "text", "utc"),
    [
        ("Europe/Berlin", "2024-03-31 01:59:59", (2024, 3, 31, 0, 59, 59)),
        ("Europe/Berlin", "2024-03-31 02:30:00", (2024, 3, 31, 1, 30)),  # does not exist: read as 03:30
        ("Europe/Berlin", "2024-03-31 03:30:00", (2024, 3, 31, 1, 30)),
        ("Europe/Berlin", "2024-10-27 01:30:00", (2024, 10, 26, 23, 30)),
        ("Europe/Berlin", "2024-10-27 02:30:00", (2024, 10, 27, 1, 30)),  # exists twice: the second pass
        ("Europe/Berlin", "2024-10-27T02:30:00+02:00", (2024, 10, 27, 0, 30)),  # the offset says which
        ("America/New_York", "2024-03-10 02:30:00", (2024, 3, 10, 7, 30)),
        ("America/New_York", "2024-11-03 01:30:00", (2024, 11, 3, 6, 30)),
        ("Asia/Tokyo", "2024-03-31 02:30:00", (2024, 3, 30, 17, 30)),
    ],
)
def test_hours_that_do_not_exist_and_hours_that_exist_twice(zone: str, text: str, utc: tuple[int, ...]) -> None:
    import duckdb

    column = Column(type="timestamp")
    for kind, value in (("VARCHAR", f"'{text}'"), ("TIMESTAMP", f"TIMESTAMP '{text}'")):
        if kind == "TIMESTAMP" and "+" in text:
            continue
        parsed = parse("r0", kind, column, alias="moment", timezone=zone, decimal=".", where="x")
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            row = connection.execute(
                f"SELECT moment FROM ({layered(f'(SELECT {value} AS r0)', parsed.steps)})"
            ).fetchone()
        assert row == (datetime(*utc),), kind  # type: ignore[arg-type]  # noqa: DTZ001 - tables hold naive UTC


def test_observation_dates_are_instants_in_utc() -> None:
    assert instant("2024-04-01") == company.at(2024, 4, 1)
