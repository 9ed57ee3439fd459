"""Observation dates exist because the data has them."""

from __future__ import annotations

from datetime import UTC, timedelta
from pathlib import Path

import pandas as pd
import pytest

from churn_platform import clock
from churn_platform.errors import DataFaultError
from churn_platform.sources.calendar import month_starts, observe_dates
from tests.sources import company
from tests.sources.company import at

MONTHS = ("2024-02-01", "2024-03-01", "2024-04-01", "2024-05-01", "2024-06-01")


def test_strays_do_not_move_the_calendar(tmp_path: Path) -> None:
    frames = company.frames(accounts=120)
    frames["usage"].loc[frames["usage"].index[0], "usage_date"] = at(1970, 1, 1)
    frames["usage"].loc[frames["usage"].index[1], "ingested_at"] = at(2025, 12, 1)
    frames["usage"].loc[frames["usage"].index[2], "ingested_at"] = at(2199, 12, 1)
    calendar = observe_dates(company.contract(), company.write(frames, tmp_path))
    assert calendar.first_event is not None
    assert calendar.first_event >= company.START
    assert calendar.as_of == company.START + timedelta(days=170)
    assert calendar.observations == MONTHS


def test_enough_history_waits_ninety_days(tmp_path: Path) -> None:
    long = company.write(company.frames(accounts=60, days=500), tmp_path)
    calendar = observe_dates(company.contract(), long)
    assert calendar.observations[0] == "2024-04-01"
    assert len(calendar.observations) >= 12


def test_a_history_that_grows_keeps_its_early_dates(tmp_path: Path) -> None:
    """From 11 dates to 12 and more, the rule of the long history would take away what models have learned from."""
    grown, contract = tmp_path / "grown", company.contract()
    grown.mkdir()
    first = observe_dates(contract, company.write(company.frames(accounts=60, days=420), tmp_path))
    assert first.observations[0] == "2024-02-01"
    later = company.write(company.frames(accounts=60, days=500), grown)
    assert observe_dates(contract, later, before=first).observations[: len(first.observations)] == first.observations
    assert observe_dates(contract, later).observations[0] == "2024-04-01"
    long = observe_dates(contract, later)
    assert observe_dates(contract, later, before=long) == long


def test_month_starts_include_both_ends() -> None:
    assert month_starts(at(2024, 2, 1), at(2024, 4, 1)) == ("2024-02-01", "2024-03-01", "2024-04-01")
    assert month_starts(at(2024, 2, 1, 0, 1), at(2024, 3, 31)) == ("2024-03-01",)
    assert month_starts(at(2024, 2, 2), at(2024, 2, 28)) == ()


def test_no_readable_time_is_an_error(tmp_path: Path) -> None:
    frames = company.frames()
    frames["usage"]["usage_date"] = pd.NaT
    source = company.write(frames, tmp_path)
    with pytest.raises(DataFaultError, match="Table usage has no readable time"):
        observe_dates(company.contract(), source)


def test_a_present_set_from_older_data_does_not_hide_newer_data(tmp_path: Path) -> None:
    source = company.write(company.frames(), tmp_path)
    free = observe_dates(company.contract(), source)
    with clock.as_of(at(2024, 3, 1).replace(tzinfo=UTC)):
        assert observe_dates(company.contract(), source) == free
