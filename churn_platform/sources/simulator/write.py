"""Columns to Parquet: only what was known by the end is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from churn_platform.sources.simulator.contract import HELPERS, TABLES
from churn_platform.sources.simulator.values import MISSING_TIME, Category, Columns

if TYPE_CHECKING:
    import pyarrow as pa

_INT_TIMES = ("_at", "usage_date")


def known_by(name: str, rows: Columns, as_of: int) -> Columns:
    """The rows of table ``name`` ingested before ``as_of``; what became known of them later is null."""
    rows = take(rows, np.flatnonzero(rows["ingested_at"] < as_of))
    for column, spec in TABLES[name].columns.items():
        helper = spec.rules.get("known_at")
        if helper is None:
            continue
        unknown = rows[helper] >= as_of
        rows[column] = _blank(rows[column], unknown)
    for helper in HELPERS.get(name, ()):
        rows[helper] = np.where(rows[helper] >= as_of, MISSING_TIME, rows[helper])
    return rows


def take(rows: Columns, where: NDArray[Any]) -> Columns:
    return {column: values[where] for column, values in rows.items()}


def _blank(values: NDArray[Any], where: NDArray[np.bool_]) -> NDArray[Any]:
    if values.dtype == np.int64:
        return np.where(where, MISSING_TIME, values)
    return np.where(where, np.nan, values)


def arrow(rows: Columns, ids: NDArray[np.bytes_]) -> pa.Table:
    """``serial`` becomes ``account_id``; ``…_at`` and ``usage_date`` become naive timestamps [us]."""
    import pyarrow as pa

    columns: dict[str, Any] = {"account_id": _accounts(rows["serial"], ids)}
    for name, values in rows.items():
        if name != "serial":
            columns[name] = _array(name, values)
    return pa.table(columns)


def _accounts(serial: NDArray[np.integer[Any]], ids: NDArray[np.bytes_]) -> Any:
    """Only ids that occur go into the dictionary: a file does not change with later accounts."""
    import pyarrow as pa

    seen = np.zeros(len(ids), dtype=bool)
    seen[serial] = True
    codes = (np.cumsum(seen) - 1).astype(np.int32)[serial]
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(ids[seen].astype(str), pa.string()))


def _array(name: str, values: Any) -> Any:
    import pyarrow as pa

    if isinstance(values, Category):
        codes = pa.array(values.codes.astype(np.int32), mask=values.codes < 0)
        return pa.DictionaryArray.from_arrays(codes, pa.array(values.names, pa.string()))
    if values.dtype.kind == "S":
        return pa.array(values.astype(str), pa.string())
    if name.endswith(_INT_TIMES):
        missing = values == MISSING_TIME
        return pa.array(np.where(missing, 0, values).view("datetime64[us]"), pa.timestamp("us"), mask=missing)
    if name in ("csat", "failed_attempts"):
        missing = np.isnan(values)
        return pa.array(np.where(missing, 0, values).astype(np.int32), pa.int32(), mask=missing)
    if values.dtype.kind == "f":
        return pa.array(values.astype(np.float64), pa.float64(), mask=np.isnan(values))
    return pa.array(values)


def write(table: pa.Table, path: Path) -> None:
    """One Parquet file; readers see plain text columns, whatever the encoding."""
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=1,
        store_schema=False,
        dictionary_pagesize_limit=8 << 20,
        row_group_size=1 << 20,
    )
