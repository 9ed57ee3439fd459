"""Drift of several months: one reference for all, Evidently's page for the newest alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from churn_platform.monitoring import months, report

from .conftest import CATALOGUE, write_features


def test_all_months_share_one_reference(
    training_months: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(months, "catalogue_for", lambda _contract: CATALOGUE)
    learned = {f"2024-0{i + 1}-01": path for i, path in enumerate(training_months)}
    current: dict[str, Path] = {
        "2024-03-01": training_months[2],
        "2024-04-01": write_features(tmp_path / "april", rows=900, seed=4),
        "2024-05-01": write_features(tmp_path / "may", rows=900, seed=5, shift=4.0),
    }
    told: list[tuple[str, float]] = []
    contract: Any = None
    found = months.drift_of_months(
        learned,
        current,
        contract=contract,
        out_dir=tmp_path / "drift",
        progress=lambda text, share: told.append((text, share)),
    )
    assert set(found) == set(current)
    assert {month: r.evidently_html is not None for month, r in found.items()} == {
        "2024-03-01": False,
        "2024-04-01": False,
        "2024-05-01": True,
    }
    assert found["2024-04-01"].share_drifted == 0
    assert found["2024-05-01"].columns[0].name == "logins_30d"
    assert found["2024-03-01"].reference == report.fit_reference(training_months, CATALOGUE)
    assert (tmp_path / "drift" / "2024-05-01" / "report.md").exists()
    assert len(told) == 3
    assert told[-1][1] == 1.0
