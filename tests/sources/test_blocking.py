"""A column that breaks its rule in one month is unusable there, and nothing else is the worse for it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from churn_platform.errors import DataFaultError
from churn_platform.sources.calendar import Calendar, observe_dates
from churn_platform.sources.tables import TablePart, TableVersion
from tests.sources import company
from tests.sources.conftest import Door


@pytest.fixture
def frames() -> company.Frames:
    return company.frames()


def broken(frames: company.Frames, tmp_path: Path, table: str, column: str, value: float) -> tuple[Path, str]:
    """The company with a column broken in the last full month in which rows of the table came; and that month's key."""
    frame = frames[table].copy()
    known = pd.to_datetime(frame["ingested_at"])
    month = known.dt.to_period("M").value_counts().index[0]
    frame.loc[known.dt.to_period("M") == month, column] = value
    return company.write({**frames, table: frame}, tmp_path / "bad"), f"{(month + 1).start_time:%Y-%m-%d}"


def test_only_the_months_part_is_blanked_and_marked(door: Door, frames: company.Frames, tmp_path: Path) -> None:
    good = company.write(frames, tmp_path / "good")
    bad, month = broken(frames, tmp_path, "usage", "logins", -5)
    contract, calendar = company.contract(), observe_dates(company.contract(), good)
    before = door.admit(contract, good, calendar.observations, tables=["usage"], calendar=calendar).current["usage"]
    admitted = door.admit(contract, bad, calendar.observations, tables=["usage"], calendar=calendar, block=True)
    after = admitted.current["usage"]

    assert list(admitted.blocked["usage"]) == [month]
    (reason,) = admitted.blocked["usage"][month].values()
    assert "usage.logins" in reason
    assert "must not be below 0" in reason
    assert "ACME-" not in reason
    for old, new in zip(before.parts, after.parts, strict=True):
        assert old.rows == new.rows, "no row is lost"
        if new.known_by == month:
            assert new.blocked == (("logins", reason),)
        else:
            assert new == old
    part = next(p for p in after.parts if p.known_by == month)
    rows = door.rows(TableVersion("usage", month, (part,)))
    assert all(row["logins"] is None for row in rows)
    assert any(row["minutes"] is not None for row in rows)


def test_without_being_asked_to_the_table_stops(door: Door, frames: company.Frames, tmp_path: Path) -> None:
    bad, _ = broken(frames, tmp_path, "usage", "logins", -5)
    calendar = observe_dates(company.contract(), bad)
    with pytest.raises(DataFaultError, match="logins"):
        door.admit(company.contract(), bad, [], tables=["usage"], calendar=calendar)


def test_what_is_known_later_is_blocked_in_the_month_it_became_known(
    door: Door, frames: company.Frames, tmp_path: Path
) -> None:
    tickets = frames["tickets"].copy()
    rated = tickets["csat"].notna()
    tickets.loc[rated, "csat"] = 99
    bad = company.write({**frames, "tickets": tickets}, tmp_path / "bad")
    calendar = observe_dates(company.contract(), bad)
    admitted = door.admit(company.contract(), bad, [], tables=["tickets"], calendar=calendar, block=True)
    known = pd.to_datetime(tickets.loc[rated, "csat_recorded_at"])
    months = {f"{(m + 1).start_time:%Y-%m-%d}" for m in known.dt.to_period("M")}
    assert set(admitted.blocked["tickets"]) <= months
    assert {"csat"} == {name for columns in admitted.blocked["tickets"].values() for name in columns}


@pytest.mark.parametrize(
    ("table", "column", "value"), [("churn_events", "kind", "odd"), ("subscriptions", "started_at", None)]
)
def test_who_is_a_customer_and_who_left_is_never_blocked(
    door: Door, frames: company.Frames, tmp_path: Path, table: str, column: str, value: object
) -> None:
    frame = frames[table].copy()
    frame[column] = value
    bad = company.write({**frames, table: frame}, tmp_path / "bad")
    calendar = Calendar(**vars(observe_dates(company.contract(), company.write(frames, tmp_path / "good"))))
    with pytest.raises(DataFaultError, match=column):
        door.admit(company.contract(), bad, [], tables=[table], calendar=calendar, block=True)


def test_marks_of_a_part_survive_json() -> None:
    part = TablePart("2024-03-01", "0" * 64, 3, True, (("a", "must: not, be so"), ("b", "why")))
    version = TableVersion("usage", "2024-03-01", (part, TablePart("2024-02-01", "1" * 64, 1)))
    assert TableVersion.from_json(version.to_json()) == version
    old = {"schema": "table-version/1", "table": "usage", "observation": "2024-03-01",
           "parts": [["2024-02-01", "1" * 64, 1], ["2024-03-01", "0" * 64, 3, "corrected"]]}  # fmt: skip
    assert TableVersion.from_json(old).corrected
