"""Columns of feature Parquet files as numpy arrays, one at a time, so that many months fit in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from churn_platform.errors import FeatureError

if TYPE_CHECKING:
    from churn_platform.monitoring.drift import Kind


class FeatureFiles:
    """Feature Parquet files of several months, read column by column.

    Args:
        paths: one file per month.

    Raises:
        FeatureError: if there is none.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        import pyarrow.parquet as pq

        if not paths:
            raise FeatureError(
                "There is no feature file to read.", mend="Materialize customer_features for a month first."
            )
        self._files = [pq.ParquetFile(path) for path in paths]

    @property
    def rows(self) -> int:
        """Rows of all files together."""
        return sum(file.metadata.num_rows for file in self._files)

    def read(self, name: str, kind: Kind, rows: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """One column of all files in order: float64 with NaN, or objects (str or None).

        Args:
            rows: ascending indices over all files; all rows where not given.

        Raises:
            FeatureError: if a file lacks the column, or a number is not one.
        """
        import pyarrow as pa

        parts = []
        for file in self._files:
            if name not in file.schema_arrow.names:
                raise FeatureError(
                    f"The feature {name} is in the catalogue but not in every feature file.",
                    mend="Materialize customer_features again for all months, with one code version.",
                    field=name,
                )
            column = file.read(columns=[name]).column(0)
            wanted = pa.float64() if kind == "number" else pa.string()
            try:
                parts.append(column.cast(wanted).to_numpy())
            except pa.ArrowInvalid as error:
                raise FeatureError(
                    f"The feature {name} is a {kind} in the catalogue but {column.type} in a feature file.",
                    mend="Correct its kind in the catalogue, or materialize customer_features again.",
                    field=name,
                ) from error
        values: NDArray[Any] = np.concatenate(parts)
        return values if rows is None else values[rows]

    def sample(self, rows: int, generator: np.random.Generator) -> NDArray[np.int64] | None:
        """Ascending indices of ``rows`` rows drawn without replacement; None where all rows are fewer."""
        if self.rows <= rows:
            return None
        return np.sort(generator.choice(self.rows, size=rows, replace=False)).astype(np.int64)
