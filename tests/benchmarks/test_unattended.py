"""What the benchmark of 24 months claims, from months that are made up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import unattended
from benchmarks.harness import Bench
from benchmarks.unattended import DESERVED, PLAN, Month


def month(number: int, *, rss: float = 500.0, processes: int = 9) -> Month:
    return Month(
        f"month {number}", PLAN[number], "healthy", "1", 60.0 + number, processes, {"service": rss}, {"store": 10.0}
    )


def run_of(sensor: str, *assets: str, status: str = "SUCCESS") -> dict[str, Any]:
    return {"status": status, "tags": {"dagster/sensor_name": sensor}, "assets": set(assets)}


def judged(lived: list[Month], runs: list[dict[str, Any]], **asking: Any) -> dict[str, tuple[float, bool | None]]:
    asked: Any = SimpleNamespace(**{"answered": 100, "failed": [], "slowest": 0.1, **asking})
    alerts = [{"kind": "data_fault"}]
    found = unattended.figures(Bench("unattended"), lived, runs, alerts, asked, 0)
    return {figure.metric: (figure.value, figure.held) for figure in found}


def test_a_quiet_life_holds() -> None:
    runs = [run_of("new_data") for _ in PLAN] + [run_of("drift", "recalibration", "champion")] * 2
    found = judged([month(n) for n in range(len(PLAN))], [*runs, run_of("new_labels", "challenger", "champion")])
    assert found["months_carried"] == (24, True)
    assert (found["trainings"][0], found["recalibrations"][0]) == (1, 2)
    assert [metric for metric, (_, held) in found.items() if held is False] == []


@pytest.mark.parametrize("missed", ["runs_failed", "trainings", "answers_failed", "rss_service_more", "processes_more"])
def test_what_goes_wrong_is_seen(missed: str) -> None:
    lived, runs, asking = [month(n) for n in range(len(PLAN))], [run_of("new_data")], {}
    if missed == "runs_failed":
        runs.append(run_of("new_data", status="FAILURE"))
    elif missed == "trainings":
        runs += [run_of("drift", "challenger")] * (DESERVED["trainings"] + 1)
    elif missed == "answers_failed":
        asking = {"failed": ["503"]}
    elif missed == "rss_service_more":
        lived = [month(n, rss=500.0 + 8 * n) for n in range(len(PLAN))]
    else:
        lived = [month(n, processes=9 + n // 12) for n in range(len(PLAN))]
    found = judged(lived, runs, **asking)
    assert [metric for metric, (_, held) in found.items() if held is False] == [missed]


def test_the_plan_is_what_is_claimed() -> None:
    assert len(PLAN) == 24
    assert set(PLAN) == {"none", "price_shock", "missing_feed", "concept_shift"}
