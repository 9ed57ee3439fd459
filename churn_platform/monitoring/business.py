"""The business report from the Parquet files of features, labels and scores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from churn_platform.errors import FeatureError
from churn_platform.monitoring.business_figures import BusinessReport, Month, Scores, summarize

if TYPE_CHECKING:
    from churn_platform.evaluation.predictions import Predictions

__all__ = ["BusinessReport", "business_report", "held_out", "read_month", "read_scores"]


def read_month(observation: str, features: Path, labels: Path | None) -> Month:
    """A month from its feature and label Parquet files; without labels every outcome is "immature"."""
    import pyarrow.parquet as pq

    table = pq.ParquetFile(features).read(columns=["customer_id", "mrr"])
    ids = table.column("customer_id").to_numpy()
    outcomes: dict[str, str] = {}
    if labels is not None:
        found = pq.ParquetFile(labels).read(columns=["customer_id", "outcome"]).to_pydict()
        outcomes = dict(zip(found["customer_id"], found["outcome"], strict=True))
    return Month(
        observation=observation,
        customer_id=ids,
        mrr=table.column("mrr").cast("float64").to_numpy(),
        outcome=np.array([outcomes.get(i, "immature") for i in ids], dtype=object),
    )


def read_scores(path: Path) -> Scores:
    """The scores Parquet file, in order of its rank.

    Raises:
        FeatureError: if it lacks a column.
    """
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    names = file.schema_arrow.names
    needed = ["customer_id", "probability", "mrr", "expected_loss", "rank", "risk_band", "model_version"]
    lacking = [name for name in needed if name not in names]
    if lacking:
        raise FeatureError(
            f"The scores lack {', '.join(lacking)}.",
            mend="Materialize scores_current again.",
            field=lacking[0],
        )
    extra = ["reasons"] if "reasons" in names else []
    table = file.read(columns=needed + extra).sort_by("rank")
    reasons = [
        "; ".join(map(str, r)) if isinstance(r, list) else (r or "")
        for r in (table.column("reasons").to_pylist() if extra else [""] * table.num_rows)
    ]
    versions = [str(version) for version in table.column("model_version").unique().to_pylist()]
    return Scores(
        customer_id=table.column("customer_id").to_numpy(),
        probability=table.column("probability").cast("float64").to_numpy(),
        mrr=table.column("mrr").cast("float64").to_numpy(),
        expected_loss=table.column("expected_loss").cast("float64").to_numpy(),
        risk_band=table.column("risk_band").to_numpy(),
        reasons=np.array(reasons, dtype=object),
        model_version=", ".join(versions),
    )


def held_out(predictions: Predictions) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """Held-out predictions as (probabilities, labels) by observation: expected leavers are made of them."""
    probability, found = predictions.probability, {}
    for observation in sorted(set(predictions.observation.tolist())):
        mask = predictions.observation == observation
        found[str(observation)] = (probability[mask], predictions.label[mask])
    return found


def business_report(
    scores: Path | None,
    features: Mapping[str, Path],
    labels: Mapping[str, Path],
    *,
    horizon_days: int,
    currency: str = "USD",
    predictions: Mapping[str, tuple[NDArray[Any], NDArray[Any]]] | None = None,
    top: int = 20,
) -> BusinessReport:
    """The report from Parquet files: ``features`` and ``labels`` by observation month, ``scores`` of today.

    See :func:`~churn_platform.monitoring.business_figures.summarize` for the other arguments.

    Raises:
        FeatureError: if there is no month, or the scores lack a column.
    """
    months = [read_month(key, path, labels.get(key)) for key, path in sorted(features.items())]
    return summarize(
        months,
        read_scores(scores) if scores else None,
        horizon_days=horizon_days,
        currency=currency,
        predictions=predictions,
        top=top,
    )
