"""What the benchmark of 24 months claims, from months that are made up."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import unattended
from benchmarks.harness import Bench
from benchmarks.unattended import DESERVED, PLAN, Month


def month(number: int, *, rss: float = 500.0, processes: int = 9, beside: float = 2.0) -> Month:
    return Month(
        f"month {number}",
        PLAN[number],
        "healthy",
        "1",
        60.0 + number,
        processes,
        {"service": rss},
        {"store": 10.0},
        beside,
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


@pytest.mark.parametrize(
    "missed",
    ["runs_failed", "trainings", "answers_failed", "rss_service_more", "processes_more", "disk_beside_data_ratio"],
)
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
    elif missed == "disk_beside_data_ratio":
        lived = [month(n, beside=0.5 * (n + 1)) for n in range(len(PLAN))]
    else:
        lived = [month(n, processes=9 + n // 12) for n in range(len(PLAN))]
    found = judged(lived, runs, **asking)
    assert [metric for metric, (_, held) in found.items() if held is False] == [missed]


def test_growth_is_judged_beside_noise_and_learnings() -> None:
    lived = [month(n, beside=40.0 if n in (18, 20, 21) else -0.1 if n % 2 else 0.3) for n in range(len(PLAN))]
    found = judged(lived, [])
    assert found["disk_beside_data_ratio"] == (1.0, True)
    assert found["disk_beside_data_second_third"][0] == pytest.approx(0.1)


def test_the_data_of_a_month_is_what_it_has_added_to_the_store(tmp_path: Path) -> None:
    old, new, other = "a" * 64, "b" * 64, "c" * 64
    for digest in (old, new, other):
        path = tmp_path / "store" / "objects" / digest[:2] / digest
        path.parent.mkdir(parents=True)
        path.write_bytes(os.urandom(2**20))
    ref = tmp_path / "refs" / "sources" / "usage" / "2024-05-01.json"
    ref.parent.mkdir(parents=True)
    ref.write_text(json.dumps({"digest": new, "inputs": {"champion": old}}))
    company = object.__new__(unattended.Company)
    company.home = tmp_path
    assert company._data_of("2024-05-01", {old}) == pytest.approx(1.0, abs=0.1)


def test_the_plan_is_what_is_claimed() -> None:
    assert len(PLAN) == 24
    assert set(PLAN) == {"none", "price_shock", "missing_feed", "concept_shift"}
