"""Every row rule has a failing example; what it does depends on whether the value came with its row."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from churn_platform.errors import DataFaultError
from churn_platform.sources.calendar import Calendar, observe_dates
from tests.sources import company
from tests.sources.conftest import Door

Change = Callable[[pd.DataFrame], None]


@pytest.fixture(scope="module")
def frames() -> company.Frames:
    return company.frames()


@pytest.fixture(scope="module")
def calendar(frames: company.Frames, tmp_path_factory: pytest.TempPathFactory) -> Calendar:
    source = company.write(frames, tmp_path_factory.mktemp("company"))
    return observe_dates(company.contract(), source)


def _set(column: str, value: Any) -> Change:
    def change(frame: pd.DataFrame) -> None:
        if not isinstance(value, datetime | timedelta | pd.Timestamp) and value is not None:
            frame[column] = frame[column].astype(object)
        frame.loc[frame.index[3], column] = value

    return change


def _tolerate(value: dict[str, Any]) -> None:
    for table in value["tables"].values():
        table["tolerance"] = 0.1


FUTURE = pd.Timestamp("2024-12-24")
CASES: dict[str, tuple[str, Change, str, str]] = {
    "entity": ("tickets", _set("account_id", " "), "account_id: required", "row"),
    "key": ("tickets", _set("ticket_id", None), "ticket_id: required", "row"),
    "event time unreadable": ("tickets", _set("opened_at", "yesterday"), "opened_at: type", "row"),
    "event time missing": ("usage", _set("usage_date", pd.NaT), "usage_date: required", "row"),
    "arrival unreadable": ("tickets", _set("ingested_at", "soon"), "ingested_at: type", "row"),
    "arrival missing": ("usage", _set("ingested_at", pd.NaT), "ingested_at: required", "row"),
    "event after arrival": (
        "usage",
        _set("usage_date", pd.Timestamp("2024-06-17")),
        "usage_date: order",
        "row",
    ),
    "future": ("usage", _set("ingested_at", FUTURE), "ingested_at: future", "row"),
    "type": ("tickets", _set("severity", "high"), "severity: type", "row"),
    "no whole number": ("tickets", _set("severity", 2.5), "severity: type", "row"),
    "no boolean": ("tickets", _set("escalated", "perhaps"), "escalated: type", "row"),
    "min": ("usage", _set("logins", -1), "logins: min", "row"),
    "max": ("usage", _set("minutes", 1e6), "minutes: max", "row"),
    "infinite": ("usage", _set("minutes", float("inf")), "minutes: type", "row"),
    "required": ("subscriptions", _set("mrr", None), "mrr: required", "row"),
    "allowed": ("accounts", _set("industry", "piracy"), "industry: allowed", "row"),
    "later value out of bounds": ("tickets", _set("csat", 9), "csat: max", "value"),
    "later value unreadable": ("tickets", _set("csat", "good"), "csat: type", "value"),
    "later time unreadable": ("tickets", _set("csat_recorded_at", "soon"), "csat_recorded_at: type", "value"),
    "later time in the future": (
        "tickets",
        _set("csat_recorded_at", FUTURE),
        "csat_recorded_at: future",
        "value",
    ),
    "undated": ("tickets", _set("closed_recorded_at", None), "closed_at: undated", "note"),
}


@pytest.mark.parametrize(("table", "change", "label", "effect"), CASES.values(), ids=CASES)
def test_a_broken_rule(
    door: Door,
    frames: company.Frames,
    calendar: Calendar,
    tmp_path: Path,
    table: str,
    change: Change,
    label: str,
    effect: str,
) -> None:
    good = company.write(frames, tmp_path / "good")
    changed = {**frames, table: frames[table].copy()}
    if table == "tickets":  # those that have been rated come first
        changed[table] = changed[table].sort_values("csat", na_position="last", kind="stable")
    change(changed[table])
    bad = company.write(changed, tmp_path / "bad")
    options: dict[str, Any] = {"tables": [table], "calendar": calendar}
    clean = door.admit(company.contract(_tolerate), good, [], **options)
    admission = door.admit(company.contract(_tolerate), bad, [], **options)
    assert clean.faults[table] == {}
    assert admission.faults[table].get(label) == 1
    assert admission.quarantined[table] == (1 if effect == "row" else 0)
    lost = len(door.rows(clean.current[table])) - len(door.rows(admission.current[table]))
    rows_before = {row["row_id"] for row in door.rows(clean.current[table])}
    rows_after = {row["row_id"] for row in door.rows(admission.current[table])}
    if effect == "row":
        assert lost >= 1
        assert len(rows_before - rows_after) == 1
    else:  # the row itself was known before the value came, so it stays
        assert rows_before == rows_after
    held = effect != "note"
    assert (table in admission.quarantine_files) == held
    if held:
        import duckdb

        file = str(admission.quarantine_files[table])
        effects = duckdb.sql(f"SELECT effect, reason FROM '{file}'").fetchall()
        assert [e for e, _ in effects] == ["row held back" if effect == "row" else "value blanked"]
        assert label.split(":", maxsplit=1)[0] in effects[0][1]

    if effect == "note":
        door.admit(company.contract(), bad, [], **options)
    else:
        with pytest.raises(DataFaultError) as raised:
            door.admit(company.contract(), bad, [], **options)
        error = raised.value
        assert (error.table, f"{error.column}: {error.rule}") == (table, label)
        assert error.share == pytest.approx(1 / len(frames[table]))


def test_the_error_beyond_the_tolerance_names_everything_but_keys(
    door: Door, frames: company.Frames, calendar: Calendar, tmp_path: Path
) -> None:
    usage = frames["usage"].copy()
    usage.loc[usage.index[:40], "logins"] = -5
    source = company.write({**frames, "usage": usage}, tmp_path / "bad")
    with pytest.raises(DataFaultError) as raised:
        door.admit(company.contract(), source, [], tables=["usage"], calendar=calendar)
    error = raised.value
    share = f"{100 * 40 / len(usage):.3g} %"
    assert f"Table usage: column logins must not be below 0, but 40 of {len(usage)} rows ({share})" in str(error)
    assert "tolerates 0.1 %" in str(error)
    assert "churn contract check" in str(error)
    # the message may be stored in logs, the examples are for the terminal
    assert "ACME-" not in str(error)
    assert len(error.examples) == 5
    assert all(example.startswith("ACME-") for example in error.examples)


def test_a_value_of_an_unlisted_column_breaks_nothing(
    door: Door, frames: company.Frames, calendar: Calendar, tmp_path: Path
) -> None:
    accounts = frames["accounts"].assign(notes="x" * 50, plan=None)
    source = company.write({**frames, "accounts": accounts}, tmp_path / "src")
    admission = door.admit(company.contract(), source, [], tables=["accounts"], calendar=calendar)
    assert set(door.rows(admission.current["accounts"])[0]) == {
        "customer_id", "row_id", "event_time", "ingested_at", "industry", "initial_size",
    }  # fmt: skip
