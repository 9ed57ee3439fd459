"""A column that breaks its rule in one month is unusable there, and nothing else is the worse for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn_platform.errors import DataFaultError
from churn_platform.sources.blocking import broken_months
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


COUNTS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 900)).map(lambda one: (one[0], one[0] + one[1])), max_size=30
)


@given(COUNTS, st.sampled_from([0.0, 0.001, 0.05, 0.3]), st.integers(0, 30))
def test_what_comes_later_changes_no_month(counts: list[tuple[int, int]], tolerance: float, known: int) -> None:
    months = {f"{2020 + i // 12}-{i % 12 + 1:02}-01": one for i, one in enumerate(counts)}
    so_far = dict(list(months.items())[:known])
    found = broken_months(months, tolerance)
    assert broken_months(so_far, tolerance) == [month for month in found if month in so_far]
    left = [one for month, one in months.items() if month not in found]
    broken, rows = sum(one[0] for one in left), sum(one[1] for one in left)
    assert broken < 3 or broken <= tolerance * rows, "what is left is what the contract tolerates"


@pytest.mark.parametrize(
    ("counts", "found"),
    [
        ([(2, 1000), (0, 1000), (30, 1000)], [2]),  # the month with the fault, not the one with two odd rows
        ([(0, 1000)] * 3 + [(900, 1000)] + [(0, 1000)] * 3, [3]),
        ([(2, 10)], []),
        ([(0, 30_000), (20, 1000)], []),  # quarantine is enough
        ([(0, 30_000), (60, 1000)], [1]),
    ],
)
def test_which_months(counts: list[tuple[int, int]], found: list[int]) -> None:
    months = [f"2024-{i + 1:02}-01" for i in range(len(counts))]
    assert broken_months(dict(zip(months, counts, strict=True)), 0.001) == [months[i] for i in found]


def test_why_a_subscription_ended_is_never_blocked(door: Door, frames: company.Frames, tmp_path: Path) -> None:
    """A blank there would make an involuntary end a departure."""

    def by_ends(value: dict[str, Any]) -> None:
        del value["tables"]["churn_events"]
        value["label"] = {"source": "subscription_end", "kind_column": "plan", "involuntary": ["unpaid"]}
        value["tables"]["subscriptions"]["columns"]["plan"] = {"type": "category", "allowed": ["never"]}

    contract, source = company.contract(by_ends), company.write(frames, tmp_path / "source")
    with pytest.raises(DataFaultError, match="plan"):
        door.admit(contract, source, [], tables=["subscriptions"], block=True)
