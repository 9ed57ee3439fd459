"""The drift report: verdicts, files, Evidently's page, columns that it cannot take, no customer ids."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from churn_platform.errors import FeatureError
from churn_platform.monitoring.report import DriftReport, base_rate, drift_report

from .conftest import CATALOGUE, feature, write_features


@pytest.fixture(scope="module")
def shifted(tmp_path_factory: pytest.TempPathFactory) -> DriftReport:
    folder = tmp_path_factory.mktemp("shifted")
    months = [write_features(folder / f"month{i}", rows=900, seed=i) for i in range(3)]
    current = write_features(folder / "now", rows=800, seed=9, shift=4.0, nps=False)
    generator = np.random.default_rng(0)
    return drift_report(
        months,
        current,
        CATALOGUE,
        out_dir=folder / "report",
        sample=500,
        seed=1,
        reference_scores=generator.beta(1, 30, 2700),
        current_scores=generator.beta(4, 30, 800),
        reference_labels=(generator.random(2700) < 0.03).astype(float),
        current_labels=(generator.random(800) < 0.12).astype(float),
    )


def test_verdicts(shifted: DriftReport) -> None:
    verdicts = {column.name: column.verdict for column in shifted.columns}
    assert verdicts == {
        "logins_30d": "shifted",
        "nps_last": "empty",
        "note": "stable",
        "mrr": "stable",
        "constant": "stable",
        "industry": "stable",
        "never_known": "stable",
    }
    assert [column.name for column in shifted.columns[:2]] == ["nps_last", "logins_30d"]
    assert shifted.share_drifted == pytest.approx(2 / 7)
    assert not shifted.drifted
    assert shifted.scores is not None
    assert shifted.scores.verdict == "shifted"
    assert shifted.base_rate is not None
    assert shifted.base_rate.changed
    assert (shifted.reference_rows, shifted.current_rows) == (2700, 800)


def test_files(shifted: DriftReport) -> None:
    names = sorted(path.name for path in shifted.folder.iterdir())
    assert names == ["evidently.html", "evidently.json", "reference.json", "report.json", "report.md"]
    value = json.loads((shifted.folder / "report.json").read_text())
    assert value["schema"] == "drift-report/1"
    assert len(value["columns"]) == len(CATALOGUE)
    assert [path.name for path in shifted.folder.parent.iterdir() if path.name.startswith(".tmp")] == []
    assert "words for logins_30d" in (shifted.folder / "report.md").read_text()
    metadata = shifted.metadata()
    assert metadata["columns_empty"] == 1
    assert json.dumps(metadata, allow_nan=False)


def test_evidently_leaves_out_what_it_cannot_take_and_says_so(shifted: DriftReport) -> None:
    assert shifted.evidently_html is not None
    assert shifted.evidently_html.stat().st_size > 1_000_000
    assert shifted.evidently_json is not None
    metrics = {m["config"]["column"] for m in json.loads(shifted.evidently_json.read_text())["metrics"]}
    assert metrics == {"mrr", "logins_30d", "constant", "industry", "note"}
    notes = "\n".join(shifted.notes)
    assert "never_known: no value in the training months and the current month" in notes
    assert "nps_last: no value in the current month" in notes
    assert "500 of 2,700 rows of the training months" in notes


def test_no_customer_is_named_in_any_file(shifted: DriftReport) -> None:
    for path in shifted.folder.iterdir():
        text = path.read_text(encoding="utf-8", errors="replace")
        named = [part[:8] for part in text.split("secret")[1:] if part[:8].isdigit()]
        assert not named, f"{path.name} names a customer"


def test_a_stored_reference_gives_the_same_verdicts(shifted: DriftReport, tmp_path: Path) -> None:
    current = write_features(tmp_path / "now", rows=800, seed=9, shift=4.0, nps=False)
    again = drift_report(shifted.reference, current, CATALOGUE, out_dir=tmp_path / "report")
    assert again.columns == shifted.columns
    assert again.evidently_html is None
    with pytest.raises(FeatureError, match="no number column other"):
        drift_report(shifted.reference, current, [feature("other")], out_dir=tmp_path / "report")


def test_the_same_population_is_stable(training_months: list[Path], tmp_path: Path) -> None:
    current = write_features(tmp_path / "now", rows=900, seed=7)
    report = drift_report(training_months, current, CATALOGUE, out_dir=tmp_path / "report", evidently=False)
    assert {column.verdict for column in report.columns} == {"stable"}
    assert report.share_drifted == 0


def test_an_earlier_report_is_replaced_as_a_whole(training_months: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "report"
    out.mkdir()
    (out / "leftover").touch()
    drift_report(training_months, training_months[0], CATALOGUE, out_dir=out, evidently=False)
    assert not (out / "leftover").exists()
    with pytest.raises(FeatureError):
        drift_report(training_months, training_months[0], [feature("absent")], out_dir=out, evidently=False)
    assert (out / "report.json").exists(), "a failed report leaves the last one in place"


def test_nothing_to_compare_makes_no_page(tmp_path: Path) -> None:
    path = tmp_path / "month"
    pq.write_table(pa.table({"customer_id": ["a", "b"], "x": pa.nulls(2, pa.float64())}), path)
    report = drift_report([path], path, [feature("x"), feature("customer_id", "category")], out_dir=tmp_path / "r")
    assert report.evidently_html is None
    assert [column.name for column in report.columns] == ["x"], "ids are never read"
    assert "no Evidently page" in " ".join(report.notes)


def test_errors_name_the_feature(training_months: list[Path], tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="absent") as caught:
        drift_report(training_months, training_months[0], [feature("absent")], out_dir=tmp_path / "r")
    assert caught.value.field == "absent"
    with pytest.raises(FeatureError, match="industry is a number in the catalogue but string"):
        drift_report(training_months, training_months[0], [feature("industry")], out_dir=tmp_path / "r")
    with pytest.raises(FeatureError, match="no feature file"):
        drift_report([], training_months[0], CATALOGUE, out_dir=tmp_path / "r")


def test_base_rate_ignores_rows_without_a_label() -> None:
    before = np.array([0.0] * 97 + [1.0] * 3 + [np.nan] * 50)
    now = np.array([0] * 970 + [1] * 30 + [None] * 9, dtype=object)
    rate = base_rate(before, now)
    assert rate is not None
    assert (rate.before, rate.now) == (0.03, 0.03)
    assert rate.now_low < 0.03 < rate.now_high
    assert not rate.changed
    assert base_rate(np.array([np.nan]), now) is None
    assert base_rate(None, now) is None


def test_importing_the_package_loads_no_heavy_library() -> None:
    code = (
        "import sys, churn_platform.monitoring.report, churn_platform.monitoring.business, "
        "churn_platform.monitoring.business_page, churn_platform.monitoring.evidently_page; "
        "print([m for m in ('evidently', 'pandas', 'pyarrow', 'scipy', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
