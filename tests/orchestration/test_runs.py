"""Runs and plans over a real home: nothing half-done counts as done, and nothing current is made again."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
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


@pytest.mark.parametrize("blocking", [True, False])
def test_a_failed_check_ends_the_plan_instead_of_being_planned_again(
    home: Home, monkeypatch: pytest.MonkeyPatch, blocking: bool
) -> None:
    from churn_platform.outlets import lists

    table_of = lists.table_of
    monkeypatch.setattr(lists, "table_of", lambda *a, **k: table_of(*a, **k).slice(1))
    defs, location = runner.definitions(), load_location(home, "churn")
    calendar = location.calendar
    assert calendar is not None
    if not blocking:
        from assets import outlets

        spec = outlets.scores_outlet.check_specs
        monkeypatch.setattr(type(next(iter(spec))), "blocking", False, raising=False)
    asked: list[int] = []

    def planned() -> Plan:
        asked.append(1)
        return runner.plan(
            home, defs, calendar.observations, location, {}, again=("scores_outlet",), among={"scores_outlet"}
        )

    with runner.instance() as found, pytest.raises(runner.RunFailedError, match="file_is_the_list of scores_outlet"):
        runner.waves(found, defs, planned)
    assert len(asked) == 1


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


def test_drift_is_told_when_the_source_has_forgotten_what_was_learned(home: Home) -> None:
    """A source with a rolling window: the first training month is no observation date any more."""
    from churn_platform.monitoring.learned import learned_tables

    refs, store = Refs(home.refs), ContentStore(home.store)
    months = refs.partitions("customer_features")
    champion = refs.get("champion")
    learned = store.read_json(champion["challenger"])["split"]["train"]
    known = {month: refs.get("customer_features", month)["digest"] for month in learned}
    assert learned_tables(home, champion) == known
    kept = [month for month in months if month > learned[0]]
    with runner.instance() as found:
        runner.set_observations(found, home, kept)
        assert refs.find("customer_features", learned[0]) is None
        assert learned_tables(home, champion) == known
        (before,) = {refs.get("drift_report", kept[-1])["digest"]}
        refs.drop("drift_report", kept[-1])
        result = (
            runner.definitions()
            .resolve_job_def("everything")
            .execute_in_process(instance=found, partition_key=kept[-1], asset_selection=[dg.AssetKey("drift_report")])
        )
        assert result.success
    assert refs.get("drift_report", kept[-1])["digest"] == before


def _carry(home: Home) -> list[str]:
    """Bring the home up to date as ``churn materialize`` does; what was made."""
    from churn_platform.cli.demo_source import SourceRequest
    from churn_platform.cli.output import Stages
    from churn_platform.cli.pipeline import Pipeline

    pipeline = Pipeline(home, "churn", Stages())
    pipeline.source(SourceRequest())
    pipeline.plan()
    return pipeline.materialize().materialized


def test_a_command_does_not_work_beside_a_run_of_the_daemon(home: Home) -> None:
    from churn_platform.errors import BusyError
    from resources.orphans import mark

    with runner.instance() as found:
        run = dg.DagsterRun(job_name="everything", status=dg.DagsterRunStatus.STARTED)
        found.add_run(run)
        mark(found, run)
        with pytest.raises(BusyError, match=run.run_id):
            _carry(home)
        found.report_run_canceled(run)
    assert _carry(home) == []


def test_a_step_waits_for_a_command(home: Home) -> None:
    """And the command that has waited for the step's run finds it at work."""
    import threading

    from churn_platform.records.lock import exclusive

    month = Refs(home.refs).partitions("customer_features")[-1]
    with runner.instance() as found:
        job = runner.definitions().resolve_job_def("everything")
        ran = threading.Thread(
            target=lambda: job.execute_in_process(
                instance=found, partition_key=month, asset_selection=[dg.AssetKey("diagnosis")]
            )
        )
        before = Refs(home.refs).get("diagnosis", month)
        with exclusive(home.run / "pipeline.lock", "make its assets"):
            ran.start()
            ran.join(6)
            assert ran.is_alive(), "it waits"
            assert Refs(home.refs).get("diagnosis", month) == before
        ran.join(120)
    assert Refs(home.refs).get("diagnosis", month)["run_id"] != before["run_id"]


def test_a_file_that_says_the_same_again_makes_nothing(home: Home) -> None:
    """Delivered anew, with another time of change: its content decides."""
    tickets = home.sources / "churn" / "simulated" / "tickets.parquet"
    content = tickets.read_bytes()
    tickets.unlink()
    tickets.write_bytes(content)
    assert _carry(home) == []


def test_rows_in_another_order_stop_at_the_table(home: Home) -> None:
    """The file has changed, what it says has not: nothing below the table is made again."""
    import pyarrow.parquet as pq

    tickets = home.sources / "churn" / "simulated" / "tickets.parquet"
    table = pq.read_table(tickets)
    pq.write_table(table.take(list(reversed(range(table.num_rows)))), tickets)
    assert _carry(home) == ["sources/tickets"]
    assert _plan(home).assets == ()


def test_who_has_left_since_the_newest_month_is_neither_listed_nor_online(home: Home) -> None:
    """A departure after the newest month's date, known by now, moves no feature."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from churn_platform.features.labels import departed
    from churn_platform.features.online import Missing, OnlineReader
    from churn_platform.records.vault import IdentityVault

    refs, store = Refs(home.refs), ContentStore(home.store)
    month = refs.partitions("churn_labels")[-1]
    before = refs.get("customer_features", month)["digest"]
    (who,) = pq.read_table(store.path(refs.get("scores_current")["digest"]))["customer_id"].to_pylist()[:1]
    (account,) = IdentityVault.open(home).reveal([who])
    events = home.sources / "churn" / "simulated" / "churn_events.parquet"
    table = pq.read_table(events)
    instant = datetime.fromisoformat(month)
    row = {**table.slice(0, 1).to_pylist()[0], "churn_event_id": "late", "account_id": account, "kind": "voluntary"}
    row |= {"cancel_requested_at": instant, "effective_at": instant + timedelta(days=1)}
    row |= {"recorded_at": instant + timedelta(days=2), "ingested_at": instant + timedelta(days=2)}
    pq.write_table(pa.concat_tables([table, pa.Table.from_pylist([row], schema=table.schema)]), events)

    made = _carry(home)
    assert "customer_features" not in made
    assert refs.get("customer_features", month)["digest"] == before
    assert departed(store.path(refs.get("churn_labels", month)["digest"])) == [who]
    assert who not in pq.read_table(store.path(refs.get("scores_current")["digest"]))["customer_id"].to_pylist()
    found = OnlineReader(home).get([who])[who]
    assert isinstance(found, Missing)
    assert found.reason in ("not_current", "not_found")


def test_what_is_overwritten_in_place_is_kept_at_every_load(home: Home) -> None:
    """The past of such a column begins with the first load; observation dates come and go, its history stays."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    refs = Refs(home.refs)
    months = refs.partitions("customer_features")
    before = {month: refs.get("customer_features", month)["digest"] for month in months}
    assert len(refs.partitions("snapshots/accounts")) == 1
    accounts = home.sources / "churn" / "simulated" / "accounts.parquet"
    table = pq.read_table(accounts)
    at = table.column_names.index("plan")
    pq.write_table(table.set_column(at, "plan", pa.array(["overwritten"] * table.num_rows)), accounts)
    assert _carry(home) == ["sources/accounts"]
    assert {month: refs.get("customer_features", month)["digest"] for month in months} == before
    log = refs.partitions("snapshots/accounts")
    assert len(log) == 2
    with runner.instance() as found:
        runner.set_observations(found, home, months[1:])
    assert refs.partitions("snapshots/accounts") == log


def test_a_source_that_cannot_be_read_is_told_and_nothing_is_asked_for(home: Home) -> None:
    from churn_platform.monitoring.alerts import alerts
    from resources.carry import Nothing, next_step

    (home.sources / "churn" / "simulated" / "tickets.parquet").unlink()
    with runner.instance() as found:
        for _ in range(2):
            asked = next_step(found, home)
            assert isinstance(asked, Nothing)
            assert "tables.tickets.path" in asked.why
    (alert,) = [one for one in alerts(home) if one.kind == "source"]
    assert "tables.tickets.path" in alert.detail
