"""What is told of a run that has failed: once a day for the same words, and nothing where nothing is wrong."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import dagster as dg
import pytest

from churn_platform import settings
from churn_platform.errors import BusyError, DataFaultError
from churn_platform.monitoring.alerts import alerts
from churn_platform.records.home import Home
from resources import carry, respond
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
