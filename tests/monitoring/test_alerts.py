"""Alerts: durable, once each, whoever raises them."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from churn_platform.monitoring.alerts import Alert, alerts, raise_alert, resolve
from churn_platform.records.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path / "home")


def fault(home: Home, key: str = "data_fault:usage:2025-01-01", **facts: Any) -> Alert | None:
    given = {"kind": "data_fault", "severity": "page", "title": "The feed usage has dried up", "detail": "No rows."}
    return raise_alert(home, key=key, **{**given, **facts})


def test_none_is_an_empty_list(home: Home) -> None:
    assert alerts(home) == []


def test_it_is_kept_as_it_was_raised_and_once(home: Home) -> None:
    made = fault(home, feed="usage", month="2025-01-01", detail="Zeile „ä“\nand another")
    assert made is not None
    assert fault(home, title="the same again") is None
    second = fault(home, key="other")
    assert alerts(home) == [made, second]
    assert (made.feed, made.month) == ("usage", "2025-01-01")


def test_a_line_that_a_crash_cut_off_costs_no_other_alert(home: Home) -> None:
    """Neither those before it nor the one that is raised next."""
    first = fault(home)
    file = home.reports / "alerts.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + whole[: len(whole) // 2])
    second = fault(home, key="raised after the crash")
    assert second is not None
    assert alerts(home) == [first, second]
    assert fault(home, key="raised after the crash") is None


def _raise(root: str) -> bool:
    return fault(Home.open(Path(root))) is not None


def test_processes_that_raise_it_together_raise_it_once(home: Home) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        made = pool.map(_raise, [str(home.root)] * 6)
    assert sum(made) == 1
    assert len(alerts(home)) == 1


def test_one_that_is_over_stays_and_says_since_when(home: Home) -> None:
    first, second = fault(home), fault(home, key="run_failed:champion", kind="run_failed")
    assert first is not None
    assert second is not None
    (over,) = resolve(home, lambda alert: alert.kind == "data_fault")
    assert (over.id, over.resolved_at is not None) == (first.id, True)
    assert alerts(home) == [over, second]
    assert resolve(home, lambda alert: alert.kind == "data_fault") == []
    assert fault(home) is None, "the same is not told again"
    assert resolve(home, lambda alert: True)[0].id == second.id
