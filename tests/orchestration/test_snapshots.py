"""Tables that are overwritten in place, load after load, through the assets: their past begins with the first load."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from churn_platform import settings
from churn_platform.records.home import Home
from churn_platform.records.owner import _place
from churn_platform.records.refs import Refs
from churn_platform.records.store import ContentStore
from churn_platform.sources.contract import dump_contract
from churn_platform.sources.mutable import SnapshotLog
from resources import runner
from tests.sources import company
from tests.sources.company import at

Load = Callable[..., list[str]]
ASSETS = (
    "customers", "cross_rules", "churn_labels", "candidate_features", "customer_profile", "feature_selection",
    "customer_features",
)  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    from churn_platform.cli.environment import enter_home

    monkeypatch.setenv("CHURN_HOME", str(tmp_path / "home"))
    settings.reload()
    before = dict(os.environ)
    enter_home()
    yield Home.open(tmp_path / "home")
    os.environ.clear()
    os.environ.update(before)
    settings.reload()


@pytest.fixture
def load(home: Home, tmp_path: Path) -> Load:
    """Deliver what the company's systems held at a time, and bring tables and features up to date."""
    from churn_platform.cli.demo_source import SourceRequest
    from churn_platform.cli.output import Stages
    from churn_platform.cli.pipeline import Pipeline

    frames = company.frames(accounts=40, days=230)
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "contract.yaml").write_text(dump_contract(company.contract()))

    def _load(until: datetime, **values: Any) -> list[str]:
        cut = company.truncate(frames, until)
        cut["accounts"] = cut["accounts"].assign(**values)
        company.write(cut, folder)
        pipeline = Pipeline(home, "churn", Stages())
        pipeline.source(SourceRequest(source=folder))
        defs, months, location = runner.definitions(), pipeline.calendar.observations, pipeline.location
        chosen = {*(f"sources/{table}" for table in location.contract.tables), *ASSETS}
        with runner.instance() as found:
            runner.set_observations(found, home, months)
            made = runner.waves(
                found, defs, lambda: runner.plan(home, defs, months, location, {}, among=chosen), listener=None
            )
        return made.materialized

    return _load


def _features(home: Home) -> dict[str, pd.DataFrame]:
    refs, store = Refs(home.refs), ContentStore(home.store)
    return {
        month: pq.read_table(store.path(refs.get("customer_features", month)["digest"])).to_pandas()
        for month in refs.partitions("customer_features")
    }


def test_features_see_each_snapshot_from_its_day_on_and_none_before(home: Home, load: Load) -> None:
    log = SnapshotLog(Refs(home.refs))
    load(at(2024, 4, 20), owner="ann", plan="basic")
    first = _features(home)
    assert list(first)[-1] == "2024-04-01"
    assert not {"owner", "account_plan"} & set(first["2024-04-01"].columns), "it was never looked at before"
    digests = {month: Refs(home.refs).get("customer_features", month)["digest"] for month in first}

    load(at(2024, 5, 20), owner="bob", plan="pro")
    made = load(at(2024, 5, 20), owner="bea", plan="pro")
    assert made == ["sources/accounts"], "overwritten in place: kept, and nothing else moves"
    load(at(2024, 6, 15), owner="cid", plan="pro")
    assert [entry.taken_at for entry in log.entries("accounts")] == [
        at(2024, 4, 20), at(2024, 5, 20), at(2024, 5, 20), at(2024, 6, 15),
    ]  # fmt: skip
    for month, digest in digests.items():
        assert Refs(home.refs).get("customer_features", month)["digest"] == digest, "features of t know no later word"
    assert "owner" not in _features(home)["2024-06-01"].columns, "two dates with a snapshot are too few to learn from"

    load(at(2024, 7, 10), owner="dan", plan="gone")
    found = _features(home)
    owners = {month: set(table["owner"].dropna()) for month, table in found.items() if month >= "2024-04-01"}
    assert owners == {"2024-04-01": set(), "2024-05-01": {"ann"}, "2024-06-01": {"bea"}, "2024-07-01": {"cid"}}
    assert all(table["owner"].isna().all() for month, table in found.items() if month < "2024-05-01")
    assert set(found["2024-05-01"]["account_plan"].dropna()) == {"basic"}
    # the present that a column has been overwritten with reaches no date before it, however often it is loaded
    before = {month: Refs(home.refs).get("customer_features", month)["digest"] for month in found}
    load(at(2024, 7, 10), owner="eve", plan="gone")
    assert {month: Refs(home.refs).get("customer_features", month)["digest"] for month in found} == before


def test_the_log_outlives_the_dates(home: Home, load: Load) -> None:
    """References of dates that are no more are forgotten; what a table said on a day that was none is history."""
    killed = home.refs / "accounts" / f".tmp-4194999-1-{_place()}-{'0' * 16}"
    killed.parent.mkdir(parents=True)
    killed.write_text("half")
    load(at(2024, 4, 20), owner="ann", plan="basic")
    assert not killed.exists(), "the start of a command removes what a killed one has left"
    refs = Refs(home.refs)
    kept = refs.partitions("snapshots/accounts")
    assert len(kept) == 1
    months = refs.partitions("customer_features")
    assert len(months) > 1
    with runner.instance() as found:
        runner.set_observations(found, home, months[:1])
    assert refs.partitions("customer_features") == months[:1]
    assert refs.partitions("snapshots/accounts") == kept
    (entry,) = SnapshotLog(refs).entries("accounts")
    assert ContentStore(home.store).has(entry.digest)
