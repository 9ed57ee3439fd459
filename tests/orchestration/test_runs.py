"""Runs and plans over a real home: nothing half-done counts as done, and nothing current is made again."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from churn_platform import settings
from churn_platform.records.home import Home
from churn_platform.records.provenance import Plan
from churn_platform.records.refs import Refs
from churn_platform.records.store import ContentStore
from churn_platform.sources.location import load_location
from resources import runner
from tests.conftest import Demo

pytestmark = pytest.mark.e2e


@pytest.fixture
def home(demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A copy of the demo's home, entered by this process."""
    from churn_platform.cli.environment import enter_home

    root = tmp_path / "copy"
    shutil.copytree(demo.home, root, symlinks=True)
    monkeypatch.setenv("CHURN_HOME", str(root))
    settings.reload()
    before = dict(os.environ)
    enter_home()
    yield Home.open(root)
    os.environ.clear()
    os.environ.update(before)


def _plan(home: Home) -> Plan:
    location = load_location(home, "churn")
    assert location.calendar is not None
    config = runner.training_config(home, budget=None, seed=None)
    digests = runner.config_digests(config)
    return runner.plan(home, runner.definitions(), location.calendar.observations, location, digests)


def test_a_finished_home_needs_nothing(home: Home) -> None:
    assert _plan(home).assets == ()


def test_another_meaning_of_the_label_makes_everything_stale(home: Home) -> None:
    """Also where the source tables themselves have been brought up to date already."""
    path = home.sources / "churn" / "contract.yaml"
    path.write_text(path.read_text().replace("horizon_days: 30", "horizon_days: 60"))
    calendar = home.sources / "churn" / "calendar.json"
    facts = json.loads(calendar.read_text())
    facts["fingerprints"] = load_location(home, "churn").fingerprints()
    calendar.write_text(json.dumps(facts))
    assert {"sources/usage", "churn_labels", "training_set", "champion"} <= set(_plan(home).assets)
    reasons = _plan(home).reasons
    assert "contract:churn has changed" in {reasons["churn_labels"], reasons["customer_features"]}


@pytest.mark.parametrize(
    ("gone", "asset", "reason"),
    [
        ("bentoml/bentos", "champion_bento", "the bento is gone"),
        ("feast/online.lmdb", "online_features", "the online store is gone"),
        ("champion", "champion", "the champion's files are gone"),
        ("mlflow/mlflow.db", "champion", "the model registry is gone"),
    ],
)
def test_what_is_lost_is_made_again(home: Home, gone: str, asset: str, reason: str) -> None:
    path = home.root / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    plan = _plan(home)
    assert plan.reasons[asset] == reason
    assert "training_set" not in plan.assets


def test_a_lost_artifact_is_made_again(home: Home) -> None:
    digest = Refs(home.refs).get("evaluation")["digest"]
    ContentStore(home.store).path(digest).unlink()
    assert _plan(home).reasons["evaluation"] == "its artifact is gone"


def test_a_single_partition_can_be_made_from_the_ui(home: Home) -> None:
    month = Refs(home.refs).partitions("customer_features")[-1]
    before = Refs(home.refs).get("customer_features", month)
    with runner.instance() as found:
        result = (
            runner.definitions()
            .resolve_job_def("everything")
            .execute_in_process(instance=found, partition_key=month, asset_selection=[dg.AssetKey("customer_features")])
        )
        assert result.success
        (event,) = found.fetch_materializations(dg.AssetKey("customer_features"), limit=1).records
    after = Refs(home.refs).get("customer_features", month)
    assert after["digest"] == before["digest"]
    assert after["run_id"] == result.run_id != before["run_id"]
    materialization = event.asset_materialization
    assert materialization is not None
    assert materialization.partition == month
    assert (materialization.tags or {})["dagster/data_version"] == after["digest"]


def test_a_failed_check_stops_what_follows_and_leaves_the_reference(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    from churn_platform.features import quality

    def broken(*_: object) -> quality.TableQuality:
        return quality.TableQuality(rows=10, unique=False, empty=())

    monkeypatch.setattr(quality, "quality_of", broken)
    month = Refs(home.refs).partitions("customer_features")[-1]
    before = Refs(home.refs).get("customer_features", month)
    defs = runner.definitions()
    location = load_location(home, "churn")
    assert location.calendar is not None
    config = runner.training_config(home, budget=None, seed=None)
    work = runner.plan(
        home,
        defs,
        location.calendar.observations,
        location,
        runner.config_digests(config),
        again=("customer_features",),
    )
    with runner.instance() as found, pytest.raises(runner.RunFailedError, match="one_row_per_customer"):
        runner.run(found, defs, work, op_config=config)
    assert Refs(home.refs).get("customer_features", month) == before


def test_observations_are_kept_in_order_and_dead_ones_forgotten(home: Home) -> None:
    refs = Refs(home.refs)
    months = refs.partitions("customer_features")
    with runner.instance() as found:
        earlier = ["2023-12-01", *months]
        runner.set_observations(found, home, earlier)
        assert list(found.get_dynamic_partitions(runner.OBSERVATIONS)) == earlier
        runner.set_observations(found, home, months[1:])
        assert list(found.get_dynamic_partitions(runner.OBSERVATIONS)) == months[1:]
    assert refs.partitions("customer_features") == months[1:]
    assert refs.find("champion") is not None
