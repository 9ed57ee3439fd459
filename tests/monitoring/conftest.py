"""Months of features and labels as Parquet files, small and of known content."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from churn_platform.features.catalogue import Feature


def feature(name: str, kind: Any = "number") -> Feature:
    return Feature(
        name=name,
        family="test",
        kind=kind,
        label=f"words for {name}",
        unit="",
        description="",
        null_policy="null",
        decimals=1,
    )


CATALOGUE = (
    feature("mrr"),
    feature("logins_30d"),
    feature("nps_last"),
    feature("never_known"),
    feature("constant"),
    feature("industry", "category"),
    feature("note", "category"),
)


def write_features(path: Path, *, rows: int, seed: int, shift: float = 0.0, nps: bool = True) -> Path:
    generator = np.random.default_rng(seed)
    ids = [f"secret{seed:03d}{i:05d}" for i in range(rows)]
    table = pa.table(
        {
            "customer_id": ids,
            "event_timestamp": pa.array([datetime(2024, 1, 1)] * rows, pa.timestamp("us")),  # noqa: DTZ001 - naive
            "created_timestamp": pa.array([datetime(2024, 1, 1)] * rows, pa.timestamp("us")),  # noqa: DTZ001
            "mrr": generator.gamma(2.0, 100.0, rows),
            "logins_30d": generator.poisson(5, rows) + shift,
            "nps_last": generator.integers(0, 11, rows).astype(float) if nps else np.full(rows, np.nan),
            "never_known": pa.nulls(rows, pa.float64()),
            "constant": np.full(rows, 3.0),
            "industry": generator.choice(np.array(["retail", "health", None], dtype=object), rows),
            "note": [f"written by {i}" for i in ids],
        }
    )
    pq.write_table(table, path)
    return path


@pytest.fixture
def training_months(tmp_path: Path) -> list[Path]:
    return [write_features(tmp_path / f"month{i}", rows=900, seed=i) for i in range(3)]
