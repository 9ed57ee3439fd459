from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from churn_platform import settings
from churn_platform.errors import ConfigurationError
from churn_platform.sources.simulator.simulate import Simulation, simulate
from churn_platform.sources.simulator.spec import SimulationSpec
from tests.sources.simulator.conftest import Query

SMALL = SimulationSpec(accounts=300, months=4, seed=5)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_equal_specs_give_equal_bytes_on_any_number_of_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for threads in ("1", "3"):
        monkeypatch.setenv("CHURN_THREADS", threads)
        settings.reload()
        simulate(SMALL, tmp_path / threads)
        made.append(digests(tmp_path / threads))
    monkeypatch.delenv("CHURN_THREADS")
    settings.reload()
    assert made[0] == made[1]
    assert len(made[0]) == 8 + 4 + 2 + 5  # tables, months of usage, contract and facts, truth


def test_another_seed_gives_other_rows(tmp_path: Path) -> None:
    one = simulate(SimulationSpec(accounts=50, months=2, seed=1), tmp_path / "one")
    two = simulate(SimulationSpec(accounts=50, months=2, seed=2), tmp_path / "two")
    assert one.rows != two.rows
    names = "select account_id from accounts"
    assert not set(Query(one.out).rows(names)) & set(Query(two.out).rows(names))


def test_the_facts_are_those_of_the_files(company: Simulation, query: Query) -> None:
    facts = json.loads((company.out / "simulation.json").read_text())
    assert facts["as_of"] == "2024-09-01T00:00:00"
    assert SimulationSpec.from_json(facts["spec"]) == company.spec
    assert facts["digest"] == company.digest
    assert facts["rows"] == {name: query.value(f"select count(*) from {name}") for name in company.rows}


def test_a_full_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    with pytest.raises(ConfigurationError, match="not empty"):
        simulate(SMALL, tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").read_text() == "keep"


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop(stage: str, share: float) -> None:
        if stage == "truth":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(SMALL, tmp_path / "out", progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_progress_ends_at_one_for_every_stage(tmp_path: Path) -> None:
    seen: dict[str, float] = {}
    simulate(SMALL, tmp_path / "out", progress=seen.__setitem__)
    assert seen == {"history": 1.0, "tables": pytest.approx(8 / 9), "usage": 1.0, "truth": 1.0}


def test_the_smallest_company_works(tmp_path: Path) -> None:
    made = simulate(SimulationSpec(accounts=20, months=1), tmp_path / "out")
    assert made.rows["accounts"] >= 20
    assert made.rows["usage"] > 0
