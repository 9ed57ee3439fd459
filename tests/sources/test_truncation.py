"""Nothing that became known after t changes what was known at t: truncation, late events, overwriting in "
"place."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from churn_platform.sources.calendar import observe_dates
from churn_platform.sources.door import Admission
from tests.sources import company
from tests.sources.company import START, at
from tests.sources.conftest import Door, open_door

MONTHS = ("2024-02-01", "2024-03-01", "2024-04-01", "2024-05-01", "2024-06-01")
DAYS = 170


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Door, company.Frames, Admission]:
    root = tmp_path_factory.mktemp("truncation")
    door, frames = open_door(root / "home"), company.frames(seed=1, days=DAYS)
    return door, frames, door.admit(company.contract(), company.write(frames, root / "source"), MONTHS)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hours=st.integers(min_value=31 * 24, max_value=DAYS * 24))
def test_a_source_truncated_at_t_gives_the_same_versions_up_to_t(
    shared: tuple[Door, company.Frames, Admission], tmp_path_factory: pytest.TempPathFactory, hours: int
) -> None:
    door, frames, full = shared
    t = START + timedelta(hours=hours)
    source = company.write(company.truncate(frames, t), tmp_path_factory.mktemp("truncated"))
    months = [month for month in MONTHS if pd.Timestamp(month) <= t]
    assert months
    truncated = door.admit(company.contract(), source, months)
    for table, digests in truncated.digests.items():
        assert digests == {month: full.digests[table][month] for month in months}, (table, t)


def test_the_truncation_test_can_fail(shared: tuple[Door, company.Frames, Admission], tmp_path: Path) -> None:
    door, frames, full = shared
    source = company.write(company.truncate(frames, at(2024, 4, 15)), tmp_path)
    truncated = door.admit(company.contract(), source, MONTHS[:4])
    changed = [
        table for table in full.digests if truncated.digests[table]["2024-05-01"] != full.digests[table]["2024-05-01"]
    ]
    assert {"usage", "tickets", "subscriptions"} <= set(changed)


def _late_event(frames: company.Frames) -> None:
    row = frames["usage"].iloc[[0]].assign(usage_date=at(2024, 2, 2, 1), ingested_at=at(2024, 5, 20), logins=999)
    frames["usage"] = pd.concat([frames["usage"], row])


def _overwritten_in_place(frames: company.Frames) -> None:
    frames["accounts"] = frames["accounts"].assign(plan="enterprise", owner="csm-new")


def _ended_later(frames: company.Frames) -> None:
    still = frames["subscriptions"]["ended_at"].isna()
    frames["subscriptions"].loc[still, "ended_at"] = at(2024, 5, 10)
    frames["subscriptions"].loc[still, "ended_recorded_at"] = at(2024, 5, 12)


def _rated_badly_later(frames: company.Frames) -> None:
    late = frames["tickets"]["csat_recorded_at"] > pd.Timestamp(2024, 5, 10)
    assert late.any()
    frames["tickets"].loc[late, "csat"] = 77


def _delivered_again_later(frames: company.Frames) -> None:
    again = frames["usage"].head(20).assign(ingested_at=at(2024, 5, 20))
    frames["usage"] = pd.concat([frames["usage"], again])


@pytest.mark.parametrize(
    "change", [_late_event, _overwritten_in_place, _ended_later, _rated_badly_later, _delivered_again_later]
)
def test_what_happens_later_changes_no_earlier_part(
    shared: tuple[Door, company.Frames, Admission],
    tmp_path: Path,
    change: Callable[[company.Frames], None],
) -> None:
    door, frames, full = shared
    frames = {name: frame.copy() for name, frame in frames.items()}
    change(frames)

    def tolerate(value: dict[str, dict[str, dict[str, object]]]) -> None:
        value["tables"]["tickets"]["tolerance"] = 0.9

    changed = door.admit(company.contract(tolerate), company.write(frames, tmp_path), MONTHS)
    for table, digests in changed.digests.items():
        for month in MONTHS[:-1]:
            assert digests[month] == full.digests[table][month], (table, month)
    if change in (_late_event, _ended_later, _rated_badly_later):
        assert changed.digests != full.digests
    else:
        assert changed.digests == full.digests


def test_the_calendar_of_a_truncated_source_knows_no_later_dates(
    shared: tuple[Door, company.Frames, Admission], tmp_path: Path
) -> None:
    _, frames, _ = shared
    full = observe_dates(company.contract(), company.write(frames, tmp_path / "full"))
    cut = company.truncate(frames, at(2024, 4, 15))
    truncated = observe_dates(company.contract(), company.write(cut, tmp_path / "cut"))
    assert truncated.as_of <= at(2024, 4, 16)
    assert truncated.observations == tuple(month for month in full.observations if month <= "2024-04-15")
