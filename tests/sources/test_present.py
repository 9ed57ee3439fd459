"""The present of a home: the wall clock for live tables, the end of the data for simulated and historical ones."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from churn_platform import clock
from churn_platform.records.home import Home
from churn_platform.sources.contract import dump_contract
from churn_platform.sources.location import folder, load_location, save_location
from churn_platform.sources.present import fix_present
from tests.sources import company


@pytest.mark.parametrize(
    ("simulated", "days_ago", "own"), [(False, 3, False), (False, 90, True), (True, 3, True), (True, -40, True)]
)
def test_a_simulated_company_is_never_live(tmp_path: Path, simulated: bool, days_ago: int, own: bool) -> None:
    home = Home.open(tmp_path / "home")
    path = folder(home, "churn") / "simulated" if simulated else tmp_path / "tables"
    path.mkdir(parents=True)
    save_location(home, "churn", path, dump_contract(company.contract()))
    end: datetime = clock.wall().replace(tzinfo=None) - timedelta(days=days_ago)
    fix_present(home, "churn", load_location(home, "churn"), end)
    assert (load_location(home, "churn").as_of is not None) == own
