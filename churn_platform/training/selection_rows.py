"""The rows that generated features are chosen on: all candidates of the chosen months beside the outcome."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from churn_platform.evaluation.splits import forward_folds
from churn_platform.features.catalogue import Feature
from churn_platform.training.encode import FeatureEncoder, Floats

if TYPE_CHECKING:
    from churn_platform.records.store import ContentStore


MOST_ROWS = 120_000
"""Rows of all months together; beyond it each month is thinned evenly, by content."""


@dataclass(frozen=True)
class Offered:
    """A candidate as the choice sees it."""

    name: str
    label: str
    template: str
    table: str
    category: bool = False


@dataclass(frozen=True)
class SelectionRows:
    """Arrays of n rows, in an order that no pseudonym can influence.

    Attributes:
        base: encoded hand-made features (n, d), NaN for unknown.
        base_names, categorical: their names, and the positions of the categories.
        x: candidates (n, p).
        candidates: what they are (p).
        y: 1 left voluntarily, 0 stayed.
        month: observation key of each row.
        months: all keys, in order.
    """

    base: Floats
    base_names: tuple[str, ...]
    categorical: tuple[int, ...]
    x: Floats
    candidates: tuple[Offered, ...]
    y: npt.NDArray[np.int8]
    month: npt.NDArray[np.object_]
    months: tuple[str, ...]

    def folds(self, horizon_days: int, gap_days: int) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """(learn, validate) row numbers of the forward folds with leavers on both sides."""
        found = [
            (np.flatnonzero(np.isin(self.month, learn)), np.flatnonzero(np.isin(self.month, judge)))
            for learn, judge in forward_folds(self.months, horizon_days, gap_days)
        ]
        return [fold for fold in found if min(int(self.y[part].sum()) for part in fold) >= 10]


def selection_rows(
    tables: Mapping[str, str],
    labels: Mapping[str, str],
    features: Sequence[Feature],
    offered: Sequence[Offered],
    *,
    store: ContentStore,
    extra: Any = None,
) -> SelectionRows:
    """Read and join the months. Rows without a certain outcome, and those of treated customers, stay out.

    Args:
        tables: month → digest of its wide table: hand-made features and candidates.
        labels: month → digest of its labels.
        features: the hand-made ones.
        offered: the candidates; each is a column of the wide tables, once ``extra`` has seen them.
        extra: Arrow table → Arrow table: adds columns (the profile) that are made of the hand-made features.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    joined, months = [], []
    names = [f.name for f in features]
    for month, digest in sorted(tables.items()):
        outcome = pq.read_table(store.path(labels[month]), columns=["customer_id", "label", "treated"])
        known = pc.and_(outcome["label"].is_valid(), pc.invert(pc.fill_null(outcome["treated"], False)))
        # which rows, by the hand-made features alone; only of these the candidates are read, which are many
        part = pq.read_table(store.path(digest), columns=["customer_id", *names])
        part = part.join(outcome.filter(known), "customer_id", join_type="inner")
        if part.num_rows > MOST_ROWS // len(tables):
            part = part.take(pa.array(_thinned(part.select([*names, "label"]), MOST_ROWS // len(tables))))
        part = extra(part) if extra is not None else part
        more = [one.name for one in offered if one.name not in part.column_names]
        if more:
            wide = ds.dataset(store.path(digest)).to_table(
                columns=["customer_id", *more], filter=ds.field("customer_id").isin(part["customer_id"].unique())
            )
            part = part.join(wide, "customer_id", join_type="inner")
        joined.append(part)
        months += [month] * part.num_rows
    table = pa.concat_tables(joined)
    columns = {f.name: table.column(f.name).to_numpy(zero_copy_only=False) for f in features}
    encoder = FeatureEncoder.fit(features, columns)
    base, x = encoder.transform(columns), _candidates(table, offered)
    y = np.asarray(table.column("label").to_numpy(zero_copy_only=False), dtype=np.int8)
    keys = np.array(months, dtype=object)
    order = _by_content(keys, base, x, y)
    return SelectionRows(
        base=base[order],
        base_names=tuple(f.name for f in features),
        categorical=tuple(encoder.categorical),
        x=x[order],
        candidates=tuple(offered),
        y=y[order],
        month=keys[order],
        months=tuple(sorted(tables)),
    )


def _thinned(table: Any, most: int) -> npt.NDArray[np.int64]:
    """Row numbers, evenly spread over the rows as ordered by content."""
    import pandas as pd

    order = np.argsort(pd.util.hash_pandas_object(table.to_pandas(), index=False).to_numpy(), kind="stable")
    return np.sort(order[np.linspace(0, table.num_rows - 1, most).astype(np.int64)])


def _candidates(table: Any, offered: Sequence[Offered]) -> Floats:
    made = np.empty((table.num_rows, len(offered)))
    for j, one in enumerate(offered):
        column = table.column(one.name)
        if one.category:
            levels = {
                level: code for code, level in enumerate(sorted({v for v in column.to_pylist() if v is not None}))
            }
            made[:, j] = [np.nan if v is None else levels[v] for v in column.to_pylist()]
        else:
            made[:, j] = np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
    return made


def _by_content(month: Any, base: Floats, x: Floats, y: Any) -> npt.NDArray[np.int64]:
    """Row numbers ordered by what the rows say: rows that are equal are the only ones whose order is chance."""
    content = np.ascontiguousarray(np.column_stack([base, x, y.astype(np.float64)]))
    keys = np.array([key + hashlib.md5(row.tobytes(), usedforsecurity=False).hexdigest()
                     for key, row in zip(month, content, strict=True)])  # fmt: skip
    return np.argsort(keys, kind="stable").astype(np.int64)
