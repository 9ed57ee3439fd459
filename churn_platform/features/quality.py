"""What must hold for any feature table: one row for each customer, no column that says nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from churn_platform.features.catalogue import Feature


@dataclass(frozen=True)
class TableQuality:
    """Facts about one feature table.

    Attributes:
        rows: customers.
        unique: whether each customer has one row.
        empty: features that are null for every customer.
    """

    rows: int
    unique: bool
    empty: tuple[str, ...]


def quality_of(path: Path, catalogue: Sequence[Feature]) -> TableQuality:
    """Read the facts from a feature table's Parquet file."""
    import duckdb

    counts = ", ".join(f'count("{feature.name}")' for feature in catalogue)
    with duckdb.connect() as db:
        row = db.execute(
            f"SELECT count(*), count(DISTINCT customer_id), {counts} FROM read_parquet($path)",
            {"path": str(path)},
        ).fetchone()
    assert row is not None  # an aggregate always has one row  # noqa: S101
    rows, customers, *known = row
    empty = tuple(f.name for f, count in zip(catalogue, known, strict=True) if rows and count == 0)
    return TableQuality(rows=rows, unique=rows == customers, empty=empty)
