"""A company some months later: exactly the longer history, as its systems would have delivered it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import pytest

from churn_platform.errors import ConfigurationError, SourceMissingError
from churn_platform.sources.simulator import advance as module
from churn_platform.sources.simulator.advance import advance
from churn_platform.sources.simulator.simulate import simulate
from churn_platform.sources.simulator.spec import SimulationSpec

SPEC = SimulationSpec(accounts=200, months=4, seed=3)
FUTURES = 2


def state(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(SPEC, tmp_path_factory.mktemp("start") / "company", futures=FUTURES).out


@pytest.fixture
def company(start: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(start, tmp_path / "company"))


def test_it_is_the_longer_history(company: Path, tmp_path: Path) -> None:
    """Every byte: tables, contract and ground truth; only what the company was asked to be is told otherwise."""
    made = advance(company, 2, futures=FUTURES)
    longer = simulate(dataclasses.replace(SPEC, months=6), tmp_path / "longer", futures=FUTURES).out
    ours, theirs = state(company), state(longer)
    assert ours.pop("simulation.json") != theirs.pop("simulation.json")
    assert ours == theirs
    assert made.as_of.isoformat() == "2024-07-01T00:00:00"


def test_usage_comes_as_new_files_and_no_old_one_is_touched(company: Path) -> None:
    before = {file: file.stat().st_ino for file in (company / "usage").iterdir()}
    made = advance(company, 2, futures=FUTURES)
    assert made.new == ("usage/2024-05.parquet", "usage/2024-06.parquet")
    assert all(file.stat().st_ino == inode for file, inode in before.items())
    assert {"accounts.parquet", "churn_events.parquet", "simulation.json"} <= set(made.changed)
    assert "contract.yaml" not in made.changed


def test_month_by_month_is_all_at_once(company: Path, start: Path, tmp_path: Path) -> None:
    for _ in range(2):
        advance(company, preset="price_shock", futures=FUTURES)
    at_once = Path(shutil.copytree(start, tmp_path / "at once"))
    advance(at_once, 2, "price_shock", futures=FUTURES)
    assert state(company) == state(at_once)


def test_each_month_has_the_drift_that_it_was_given(company: Path) -> None:
    advance(company, preset="missing_feed", futures=FUTURES)
    assert not (company / "usage" / "2024-05.parquet").exists() or _rows(company / "usage" / "2024-05.parquet") < 500
    advance(company, preset="none", futures=FUTURES)
    assert _rows(company / "usage" / "2024-06.parquet") > 500
    spec = json.loads((company / "simulation.json").read_text())["spec"]
    assert spec["advanced"] == ["missing_feed", "none"]


def _rows(file: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(file).num_rows)


def test_a_contract_that_was_edited_stays(company: Path) -> None:
    contract = company / "contract.yaml"
    contract.write_text(contract.read_text() + "# ours\n")
    advance(company, futures=FUTURES)
    assert contract.read_text().endswith("# ours\n")


@pytest.mark.parametrize("broken_after", [0, 3, 7])
def test_a_delivery_that_was_cut_off_is_made_good_by_the_next(
    company: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken_after: int
) -> None:
    """Whatever it was that the first one was to bring: the company lives that month once."""
    moved = 0
    replace = Path.replace

    def cut_off(self: Path, target: Path) -> Path:
        nonlocal moved
        if "made" in self.parts and moved == broken_after:
            raise KeyboardInterrupt
        moved += "made" in self.parts
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", cut_off)
        with pytest.raises(KeyboardInterrupt):
            advance(company, preset="price_shock", futures=FUTURES)
    advance(company, preset="none", futures=FUTURES)
    whole = Path(shutil.copytree(start, tmp_path / "whole"))
    advance(whole, preset="none", futures=FUTURES)
    assert state(company) == state(whole)
    assert sorted(path.name for path in company.parent.iterdir()) == ["company", "whole"], "a work folder is left over"


def test_what_cannot_be_done_is_said(company: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceMissingError, match="no simulated company"):
        advance(tmp_path / "nothing")
    before = state(company)
    with pytest.raises(ConfigurationError, match=r"preset|advanced"):
        advance(company, preset="price_shok")
    with pytest.raises(ConfigurationError, match="months"):
        advance(company, 0)
    assert state(company) == before


def test_the_ground_truth_stays_beside_the_tables(company: Path) -> None:
    advance(company, preset="price_shock", futures=FUTURES)
    assert (company / "truth" / "state_oracle.parquet").is_file()
    assert "truth" not in (company / "contract.yaml").read_text()
    assert module.FACTS == "simulation.json"
