"""What is told of a run that has failed: once a day for the same words, and nothing where nothing is wrong."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import dagster as dg
import pytest

from churn_platform import settings
from churn_platform.errors import BusyError, DataFaultError
from churn_platform.monitoring.alerts import Alert, alerts
from churn_platform.records.home import Home
from churn_platform.records.refs import Refs
from resources import carry, respond
from resources.carry import _is_over
from resources.respond import failure_alert


def _fail(found: dg.DagsterInstance, home: Home, error: Exception) -> None:
    @dg.op
    def carry_on() -> None:
        raise error

    @dg.job
    def carry() -> None:
        carry_on()

    done = carry.execute_in_process(instance=found, raise_on_error=False)
    run = found.get_run_by_id(done.run_id)
    assert run is not None
    (entry,) = found.all_logs(done.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert entry.dagster_event is not None
    context = dg.build_run_status_sensor_context("run_failure", entry.dagster_event, found, run).for_run_failure()
    failure_alert(context, home)


def _fault() -> DataFaultError:
    words = f"Use lies outside, run {uuid4()}."
    return DataFaultError(words, mend="", table="usage", rule="inside", share=0.5)


def test_the_same_failure_is_told_once_a_day(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    other = DataFaultError("Tickets before signup.", mend="", table="tickets", rule="after", share=0.5)
    with dg.instance_for_test() as found:
        for error in (_fault(), _fault(), other):
            _fail(found, home, error)
        first, second = alerts(home)
        assert "Use lies outside" in first.detail
        assert "Tickets before signup" in second.detail


def test_a_home_that_is_busy_is_no_failure(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    with dg.instance_for_test() as found:
        _fail(found, home, BusyError("Another process (pid 7) holds this home to make its assets.", mend="Wait."))
    assert alerts(home) == []


@pytest.mark.parametrize("name", ["new_data", "drift", "new_labels"])
def test_a_sensor_that_fails_is_told_and_still_fails(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sensors import all_sensors

    def broken(*_: object) -> None:
        raise KeyError("month")

    monkeypatch.setenv("CHURN_HOME", str(tmp_path))
    settings.reload()
    monkeypatch.setattr(carry, "next_step", broken)
    monkeypatch.setattr(respond, "answer_reports", broken)
    monkeypatch.setattr(respond, "training_by_age", broken)
    (sensor,) = [one for one in all_sensors() if one.name == name]
    with dg.instance_for_test() as found, dg.build_sensor_context(instance=found) as context:
        for _ in range(2):
            with pytest.raises(KeyError, match="month"):
                sensor.evaluate_tick(context)
    (alert,) = alerts(Home.open(tmp_path))
    assert alert.kind == "sensor_failed"
    assert name in alert.title
    assert "KeyError: 'month'" in alert.detail


def test_a_failure_is_over_when_its_asset_has_been_made_since(tmp_path: Path) -> None:
    refs = Refs(tmp_path / "refs")

    def alert(kind: str, key: str, raised_at: str = "2025-03-01T12:00:00+00:00") -> Alert:
        return Alert("1", key, kind, "page", "t", "d", raised_at)

    failed = alert("run_failed", "run_failed:sources/usage:ab:2025-03-01")
    assert not _is_over(refs, failed), "it was never made"
    refs.set("sources/usage", "2025-02-01", {"digest": "a" * 64, "made_at": "2025-03-01T11:59:59.900000+00:00"})
    assert not _is_over(refs, failed)
    refs.set("sources/usage", "2025-03-01", {"digest": "b" * 64, "made_at": "2025-03-01T12:00:00.100000+00:00"})
    assert _is_over(refs, failed)
    assert _is_over(refs, alert("run_failed", "run_failed:carry_on:ab:2025-03-01"))
    assert _is_over(refs, alert("source", "source:ab:2025-03-01"))
    assert not _is_over(refs, alert("data_fault", "data_fault:usage:2025-03-01"))
