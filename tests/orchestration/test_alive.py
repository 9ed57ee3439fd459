"""New months carry themselves: the sensors over real homes, however the data arrives and whatever is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from churn_platform.monitoring import months
from churn_platform.monitoring.alerts import alerts
from churn_platform.monitoring.diagnosis import Diagnosis, Kind, Outcome, Signals, diagnose
from churn_platform.outlets.outbox import Outbox
from churn_platform.outlets.published import default_folder, published
from churn_platform.records.home import Home
from churn_platform.records.lock import exclusive
from churn_platform.records.refs import Refs
from churn_platform.records.store import ContentStore
from churn_platform.serving.degraded import degraded
from churn_platform.sources.simulator.advance import advance
from churn_platform.sources.simulator.simulate import simulate
from churn_platform.sources.simulator.spec import SimulationSpec
from resources.carry import RECALIBRATION, TRAINING
from sensors.jobs import CARRIED_BY
from tests.conftest import Demo
from tests.orchestration.daemon import Daemon, Ran, copy_of, daemon, know, state

pytestmark = pytest.mark.e2e

FUTURES = 2
LEARNING = frozenset(TRAINING) | frozenset(RECALIBRATION)


def company(home: Home | Path) -> Path:
    root = home.root if isinstance(home, Home) else home
    return root / "sources" / "churn" / "simulated"


@pytest.fixture(scope="module")
def start(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's home, at rest; its vault knows who will come in the next months."""
    place = tmp_path_factory.mktemp("alive")
    root = copy_of(demo.home, place / "start")
    spec = SimulationSpec.from_json(json.loads((company(root) / "simulation.json").read_text())["spec"])
    know(root, simulate(spec.advanced_by(3), place / "later", futures=FUTURES).out)
    with daemon(root) as found:
        assert found.rest() == [], "a finished demo asks for nothing"
    return root


@pytest.fixture
def alive(start: Path, tmp_path: Path) -> Iterator[Daemon]:
    with daemon(copy_of(start, tmp_path / "home")) as found:
        yield found


def learned(ran: list[Ran]) -> list[Ran]:
    return [run for run in ran if run.assets & LEARNING]


# However it arrives


@dataclass(frozen=True)
class End:
    """How it ended: what stands in the home, the runs, and what files were."""

    state: dict[str, str]
    ran: list[Ran]
    home: Path


@pytest.fixture(scope="module")
def one_by_one(start: Path, tmp_path_factory: pytest.TempPathFactory) -> End:
    root = copy_of(start, tmp_path_factory.mktemp("one by one") / "home")
    with daemon(root) as found:
        ran = []
        for _ in range(2):
            advance(company(root), futures=FUTURES)
            ran += found.rest()
        return End(state(found.home), ran, root)


def test_two_quiet_months_are_scored_and_nothing_is_learned(one_by_one: End, start: Path) -> None:
    before = {key.split("@")[1] for key in state(Home.open(start)) if key.startswith("customer_features@")}
    after = {key.split("@")[1] for key in one_by_one.state if key.startswith("customer_features@")}
    assert len(after - before) == 2
    assert all(run.success for run in one_by_one.ran)
    assert learned(one_by_one.ran) == []
    for month in after - before:
        for asset in ("churn_labels", "drift_report", "diagnosis", "sources/usage"):
            assert f"{asset}@{month}" in one_by_one.state
    refs = Refs(Home.open(one_by_one.home).refs)
    assert refs.get("scores_current")["inputs"]["customer_features@^"].startswith(max(after))
    assert refs.get("champion") == Refs(Home.open(start).refs).get("champion")


def test_nothing_that_has_stayed_the_same_is_made_again(one_by_one: End, start: Path) -> None:
    """Features of the new month alone are made; and of all months only where something of all months is new, as when
    columns that are overwritten in place have been seen often enough to become features."""
    refs, known = Refs(Home.open(one_by_one.home).refs), Refs(Home.open(start).refs).partitions("customer_features")
    first, second = (run for run in one_by_one.ran if "customer_features" in run.assets)
    assert _range(first) == (_after(known[-1]), _after(known[-1]))
    recorded = refs.get("customer_features", known[0])["inputs"]
    assert _range(second)[0] == known[0]
    assert [name for name in recorded if name.startswith("snapshots:")]
    assert all(run.tags["churn/reason"] for run in one_by_one.ran)


def _range(run: Ran) -> tuple[str, str]:
    return run.tags["dagster/asset_partition_range_start"], run.tags["dagster/asset_partition_range_end"]


def _after(month: str) -> str:
    """The observation date a month later."""
    number = int(month[:4]) * 12 + int(month[5:7])
    return f"{number // 12}-{number % 12 + 1:02d}-01"


def test_two_months_at_once_by_a_daemon_that_forgets(one_by_one: End, alive: Daemon) -> None:
    """Its memory lost between any two looks: the state of the home says what is next."""
    advance(company(alive.home), 2, futures=FUTURES)
    (sensor,) = [one for one in _sensors() if one.name == "new_data"]
    ran = []
    while made := Daemon(alive.instance, alive.home).tick(sensor):
        ran += made
        assert len(ran) < 20
    assert all(run.success for run in ran)
    assert state(alive.home) == one_by_one.state


def test_a_month_out_of_order(one_by_one: End, alive: Daemon) -> None:
    """The first month's usage comes after the second's: what was made without it is made again with it."""
    folder = company(alive.home)
    before = {file.name for file in (folder / "usage").iterdir()}
    advance(folder, 2, futures=FUTURES)
    late = min(file.name for file in (folder / "usage").iterdir() if file.name not in before)
    kept = (folder / "usage" / late).rename(folder.parent / late)
    ran = alive.rest()
    assert learned(ran) == [], "nothing is learned from a month that is not whole"
    assert state(alive.home) != one_by_one.state
    kept.rename(folder / "usage" / late)
    ran = alive.rest()
    assert all(run.success for run in ran)
    assert learned(ran) == []
    assert state(alive.home) == one_by_one.state
    assert degraded(alive.home) is None


def test_the_same_month_delivered_twice(one_by_one: End) -> None:
    """Files of the same content with other times and inodes: a tick, and no run."""
    with daemon(one_by_one.home) as found:
        for file in company(one_by_one.home).rglob("*.parquet"):
            content = file.read_bytes()
            file.unlink()
            file.write_bytes(content)
        assert found.rest() == []
        assert found.skipped["new_data"] == "everything is up to date"
        assert state(found.home) == one_by_one.state


def test_while_a_command_is_at_work_nothing_is_asked(alive: Daemon) -> None:
    advance(company(alive.home), futures=FUTURES)
    with exclusive(alive.home.run / "pipeline.lock", "change its tables"):
        assert alive.rest() == []
        assert "at work" in alive.skipped["new_data"]
    assert alive.asks("new_data")


# What is wrong with it


def test_a_missing_feed_is_marked_and_told_and_nothing_is_learned(alive: Daemon) -> None:
    champion = Refs(alive.home.refs).get("champion")
    advance(company(alive.home), preset="missing_feed", futures=FUTURES)
    ran = alive.rest()
    assert all(run.success for run in ran)
    assert learned(ran) == []
    (alert,) = alerts(alive.home)
    assert (alert.kind, alert.feed) == ("data_fault", "usage")
    assert "usage" in alert.title
    mark = degraded(alive.home)
    assert mark is not None
    assert mark.feeds == ["usage"]
    assert _mark(alive.home) == {"reason": mark.reason, "feeds": ["usage"]}, "the list that leaves is marked, too"
    assert Refs(alive.home.refs).get("champion") == champion
    assert alive.rest() == []
    assert len(alerts(alive.home)) == 1

    advance(company(alive.home), preset="none", futures=FUTURES)
    assert learned(alive.rest()) == []
    assert degraded(alive.home) is None, "the feed is back, and answers are whole again"
    assert _mark(alive.home) is None


def _mark(home: Home) -> Any:
    """The mark of the published list, which is the newest; message and file say the same."""
    said, list_ready = published(default_folder(home)), Outbox.open(home).newest("list.ready")
    assert said is not None
    assert list_ready is not None
    newest = max(Refs(home.refs).partitions("diagnosis"))
    assert said["month"] == list_ready.data["month"] == newest
    assert said["degraded"] == list_ready.data["degraded"]
    return said["degraded"]


def _found(monkeypatch: pytest.MonkeyPatch, newest: str, kind: Kind, **signals: Any) -> None:
    """Let the newest month be diagnosed so, and every other by what it shows: the demo's 700 customers leave too seldom
    for a change to be certain."""

    def diagnosed(given: Signals) -> Diagnosis:
        if given.month != newest:
            return diagnose(given)
        return Diagnosis(newest, kind, f"{kind}: told by the test.", (), replace(given, **signals))

    monkeypatch.setattr(months, "diagnose", diagnosed)


def _next_month(home: Home) -> str:
    return _after(Refs(home.refs).partitions("customer_features")[-1])


def test_lost_calibration_leads_to_a_champion_that_is_set_right_and_to_rest(
    alive: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    refs, store = Refs(alive.home.refs), ContentStore(alive.home.store)
    before, month = refs.get("champion"), _next_month(alive.home)
    judged = refs.partitions("customer_features")[-3]
    _found(monkeypatch, month, "calibration_lost", outcome=Outcome(judged, 10.0, 20, mature=True))
    advance(company(alive.home), futures=FUTURES)
    ran = alive.rest()
    assert all(run.success for run in ran)
    (asked,) = learned(ran)
    assert asked.sensor == "drift"
    assert asked.assets == frozenset(RECALIBRATION)
    after = refs.get("champion")
    shifted = store.read_json(refs.get("recalibration")["digest"])
    assert shifted["passed"], shifted
    assert after["model"] == shifted["model"] != before["model"]
    assert after["bases"] == [before["model"]]
    pointer = json.loads((alive.home.champion / "pointer.json").read_bytes())
    assert (pointer["model"], pointer["version"]) == (after["model"], after["version"])
    assert int(after["version"]) > int(before["version"])
    _led_there(after, asked, month)
    # The list of today follows the new champion, and promotion asks for nothing more.
    assert refs.get("scores_current")["inputs"]["champion"] == after["digest"]
    assert alive.rest() == []


def test_changed_reasons_to_leave_lead_through_the_gate(alive: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    refs = Refs(alive.home.refs)
    before, month = refs.get("champion"), _next_month(alive.home)
    _found(monkeypatch, month, "concept_change")
    advance(company(alive.home), futures=FUTURES)
    ran = alive.rest()
    assert all(run.success for run in ran)
    (asked,) = learned(ran)
    assert (asked.sensor, asked.assets) == ("drift", frozenset(TRAINING))
    _led_there(refs.get("challenger"), asked, month)
    report = ContentStore(alive.home.store).read_json(asked.tags["churn/report"])
    assert (report["month"], report["kind"]) == (month, "concept_change")
    after, gate = refs.get("champion"), refs.get("gate")
    if gate["passed"]:
        assert after["model"] == refs.get("challenger")["model"]
        _led_there(after, asked, month)
    else:
        assert after["model"] == before["model"]
    assert alive.rest() == [], "each month asks once, whatever the gate has said"


def _led_there(ref: dict[str, Any], asked: Ran, month: str) -> None:
    """Which month, report and reason led to it, and that report is there to be read."""
    assert ref["cause"]["churn/month"] == month
    assert ref["cause"]["churn/reason"] == asked.tags["churn/reason"]
    assert "told by the test" in ref["cause"]["churn/reason"]
    assert ref["cause"]["churn/report"] == asked.tags["churn/report"]
    assert len(ref["cause"]["churn/report"]) == 64


def test_a_run_that_fails_is_told_once_and_asked_again_when_the_data_has_changed(
    alive: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    from churn_platform.features import quality

    folder = company(alive.home)
    advance(folder, futures=FUTURES)
    with monkeypatch.context() as patch:
        patch.setattr(quality, "quality_of", lambda *_: quality.TableQuality(rows=10, unique=False, empty=()))
        ran = alive.rest()
        assert [run.success for run in ran][-1] is False
        assert alive.rest() == [], "the same question is not asked again at once"
    # the run that a sensor has asked for is told, its parts are not
    failed = [run for run in ran if not run.success and CARRIED_BY not in run.tags][-1]
    for _ in range(2):
        _told(alive, failed)
    (alert,) = alerts(alive.home)
    assert (alert.kind, alert.month) == ("run_failed", failed.tags["churn/month"])
    assert failed.run_id in alert.detail

    assert not alive.asks("new_data")
    advance(folder, futures=FUTURES)
    assert alive.asks("new_data"), "other data is another question"


def test_what_is_broken_elsewhere_silences_no_answer(alive: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """The business report cannot be made: the feed that is missing is named all the same, and so is the report."""
    from churn_platform.monitoring import business

    def broken(*_: object, **__: object) -> None:
        raise ValueError("no such column")

    monkeypatch.setattr(business, "business_report", broken)
    advance(company(alive.home), preset="missing_feed", futures=FUTURES)
    ran = alive.rest()
    assert not ran[-1].success
    (alert,) = alerts(alive.home)
    assert alert.feed == "usage"


def test_a_training_that_failed_is_asked_for_again(alive: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    from churn_platform.training import challenger
    from resources import respond

    def broken(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    month = _next_month(alive.home)
    _found(monkeypatch, month, "concept_change")
    advance(company(alive.home), futures=FUTURES)
    with monkeypatch.context() as patch:
        patch.setattr(challenger, "train", broken)
        (failed,) = learned(alive.rest())
        assert not failed.success
        assert learned(alive.rest()) == [], "not before an hour has passed"
        patch.setattr(respond, "AGAIN_AFTER_SECONDS", 0.0)
        patch.setattr(respond, "MOST_TIMES", 2)
        (failed,) = learned(alive.rest())
        assert failed.tags["dagster/run_key"] == f"retrain:{month}:2"
        assert learned(alive.rest()) == [], "and not for ever"
    monkeypatch.setattr(respond, "AGAIN_AFTER_SECONDS", 0.0)
    alive.cursors.pop("drift")
    (asked,) = learned(alive.rest())
    assert asked.success
    assert asked.tags["dagster/run_key"] == f"retrain:{month}:3"
    assert learned(alive.rest()) == []
    alive.cursors.pop("drift")
    assert learned(alive.rest()) == [], "nor by a daemon that has forgotten what it has asked for"


def test_tables_that_contradict_each_other_are_told_and_nothing_is_learned(
    alive: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    from churn_platform.errors import DataFaultError
    from churn_platform.sources import cross

    def contradict(*_: object, **__: object) -> None:
        raise DataFaultError("Use lies outside its subscription.", mend="", table="usage", rule="inside", share=0.5)

    _found(monkeypatch, _next_month(alive.home), "concept_change")
    monkeypatch.setattr(cross, "stop_where_they_contradict", contradict)
    advance(company(alive.home), futures=FUTURES)
    ran = alive.rest()
    assert learned(ran) == []
    _told(alive, [run for run in ran if not run.success and CARRIED_BY not in run.tags][-1])
    (alert,) = alerts(alive.home)
    assert "cross_rules" in alert.title + alert.detail


def _told(alive: Daemon, failed: Ran) -> None:
    """What run_failure does with a run that has failed."""
    import dagster as dg

    from resources.respond import failure_alert

    run = alive.instance.get_run_by_id(failed.run_id)
    assert run is not None
    (event,) = [
        entry.dagster_event for entry in alive.instance.all_logs(failed.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    ]
    assert event is not None
    context = dg.build_run_status_sensor_context("run_failure", event, alive.instance, run).for_run_failure()
    failure_alert(context, alive.home)


def _sensors() -> list[Any]:
    from sensors import all_sensors

    return all_sensors()


def test_sensors_and_schedules_run_from_the_start() -> None:
    import dagster as dg

    from sensors import all_schedules

    assert {one.name for one in _sensors()} == {"new_data", "drift", "new_labels", "run_failure"}
    assert all(one.default_status == dg.DefaultSensorStatus.RUNNING for one in _sensors())
    assert all(one.default_status == dg.DefaultScheduleStatus.RUNNING for one in all_schedules())
