"""The head of the ranked list as Markdown, for the Dagster UI. Pseudonyms only."""

from __future__ import annotations

from pathlib import Path

from churn_platform.monitoring.markdown import money, percent, table


def markdown(scores: Path, top: int = 15) -> str:
    """The first ``top`` customers of a scores file (see :func:`churn_platform.serving.batch.score_month`)."""
    import pyarrow.parquet as pq

    columns = ["customer_id", "rank", "probability", "risk_band", "mrr", "expected_loss", "reasons"]
    rows = pq.read_table(scores, columns=columns).sort_by("rank").slice(0, top).to_pylist()
    return table(
        ["#", "customer (pseudonym)", "probability", "band", "MRR", "expected loss", "first reason"],
        [
            [
                row["rank"],
                row["customer_id"],
                percent(row["probability"]),
                row["risk_band"],
                money(row["mrr"]),
                money(row["expected_loss"]),
                row["reasons"][0] if row["reasons"] else "-",
            ]
            for row in rows
        ],
    )
