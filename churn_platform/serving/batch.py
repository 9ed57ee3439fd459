"""Every customer of a month scored and explained at once, ranked by expected loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from churn_platform.champion.model import ChampionModel
from churn_platform.evaluation.profit import expected_loss
from churn_platform.features.catalogue import VALUE_COLUMN
from churn_platform.features.labels import departed
from churn_platform.features.month import lacking
from churn_platform.serving.scorer import REASONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from churn_platform.records.store import ContentStore

CHUNK = 1_000


@dataclass(frozen=True)
class RankedList:
    """The scores of one observation month.

    Attributes:
        digest: of the Parquet file, in rank order: customer_id (pseudonym), rank, probability, margin, base_value,
            risk_band, mrr, expected_loss, reasons (list of text), contributions (struct: log-odds by feature),
            model_version, model_digest, observation.
        rows: customers scored.
        gone: customers of the month who are known to have left, and are not scored.
        revenue_at_risk: Σ expected loss over the horizon, in the contract's currency; None where no revenue is known.
        worst_additivity: largest |base value + Σ contributions - margin| over all rows, log-odds.
    """

    digest: str
    rows: int
    gone: int
    revenue_at_risk: float | None
    worst_additivity: float


def score_month(
    model: ChampionModel,
    features: str,
    observation: str,
    *,
    version: str,
    store: ContentStore,
    labels: str | None = None,
    threads: int = 1,
    progress: Callable[[str, float], None] | None = None,
) -> RankedList:
    """Score, explain and rank the customers of a feature table who have not left.

    Args:
        model: the champion.
        features: digest of the month's feature table.
        observation: its key.
        version: the champion's version in the registry.
        labels: digest of the month's labels: who is known to have left already is not scored.
        threads: for the model's library.

    Ties, and customers whose revenue is unknown, are ranked by probability.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(store.path(features))
    gone = departed(store.path(labels)) if labels is not None else []
    if gone:
        table = table.filter(pc.invert(pc.is_in(table["customer_id"], pa.array(gone, pa.string()))))
    names = [feature.name for feature in model.features]
    columns = {name: _values(table, name) for name in names}
    mrr = _values(table, VALUE_COLUMN).astype(np.float64)
    parts = []
    for start in range(0, max(table.num_rows, 1), CHUNK):
        rows = slice(start, start + CHUNK)
        scored = model.score({name: column[rows] for name, column in columns.items()}, threads=threads)
        count = len(scored)
        parts.append(
            (
                scored.probability,
                scored.margin,
                scored.contributions,
                [scored.risk_band(i) for i in range(count)],
                [scored.reasons(i, REASONS) for i in range(count)],
            )
        )
        if progress is not None and table.num_rows:
            progress(
                f"{min(start + CHUNK, table.num_rows):,} of {table.num_rows:,} customers",
                min(1.0, (start + CHUNK) / table.num_rows),
            )
    probability = np.concatenate([part[0] for part in parts])
    margin = np.concatenate([part[1] for part in parts])
    contributions = np.concatenate([part[2] for part in parts])
    loss = np.where(np.isnan(mrr), np.nan, expected_loss(probability, mrr))
    base = model.base_value
    order = np.lexsort((np.arange(len(loss)), -probability, -np.nan_to_num(loss, nan=0.0)))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    count = len(probability)
    made = pa.table(
        {
            "customer_id": table["customer_id"],
            "rank": rank,
            "probability": probability,
            "margin": margin,
            "base_value": np.full(count, base),
            "risk_band": pa.array([band for part in parts for band in part[3]], pa.string()),
            "mrr": pa.array(mrr, from_pandas=True),
            "expected_loss": pa.array(loss, from_pandas=True),
            "reasons": pa.array([reasons for part in parts for reasons in part[4]], pa.list_(pa.string())),
            "contributions": pa.StructArray.from_arrays(
                [pa.array(contributions[:, j]) for j in range(len(names))], names=names
            ),
            "model_version": pa.array([version] * count, pa.string()),
            "model_digest": pa.array([model.version_digest] * count, pa.string()),
            "observation": pa.array([observation] * count, pa.string()),
        }
    ).take(pa.array(order))
    with store.temporary() as path:
        pq.write_table(made, path, compression="zstd", store_schema=False)
        digest = store.put_file(path, move=True)
    known = loss[~np.isnan(loss)]
    worst = float(np.abs(base + contributions.sum(axis=1) - margin).max()) if count else 0.0
    return RankedList(digest, count, len(gone), float(known.sum()) if len(known) else None, worst)


def _values(table: Any, name: str) -> npt.NDArray[Any]:
    if name not in table.column_names:
        raise lacking(name)
    return np.asarray(table.column(name).to_numpy(zero_copy_only=False))
