"""The benchmark of features on a small company: it measures what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks import features_pit
from benchmarks.harness import Bench


def test_its_tables_are_assembled(tmp_path: Path) -> None:
    features_pit.write_tables(tmp_path, 200, 3)
    rows, columns = features_pit._ours(tmp_path, "chosen", 3)
    assert (rows, columns > 45) == (600, True)
    table = pq.read_table(json.loads((tmp_path / "made.json").read_text())[-1])
    for name in features_pit.CHOSEN:
        assert table.column(name).null_count < table.num_rows, name


def test_the_figures_have_their_names_and_goals() -> None:
    figures = list(features_pit.figures(Bench("features", attempts=1), accounts=100, months=2))
    assert {figure.metric: figure.goal for figure in figures} == {
        "pit_seconds": "<= 180",
        "pit_gib": "<= 4",
        "pit_rows": None,
        "pit_values_ratio": None,
        "candidates_seconds": "<= 900",
        "candidates_gib": None,
    }
    assert next(figure.value for figure in figures if figure.metric == "pit_rows") == 200
    ratio = next(figure for figure in figures if figure.metric == "pit_values_ratio")
    assert ratio.against["feast_duckdb"] > 0
