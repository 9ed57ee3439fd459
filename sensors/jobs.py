"""The jobs of a problem."""

from __future__ import annotations

from typing import Any

import dagster as dg


def all_jobs() -> list[Any]:
    """``everything`` makes all assets for a range of observation months; the other two are parts of it."""
    features = dg.AssetSelection.groups("sources", "customers", "features", "monitoring") | dg.AssetSelection.assets(
        "scores_current"
    )
    return [
        dg.define_asset_job(
            "everything",
            selection=dg.AssetSelection.all(),
            description="From raw tables to bento, scores and reports, for a range of observation months.",
        ),
        dg.define_asset_job(
            "score_month",
            selection=features,
            description="A new month: tables, features, labels, scores, drift, business report; no training.",
        ),
        dg.define_asset_job(
            "retrain",
            selection=dg.AssetSelection.groups("training", "evaluation", "champion", "serving"),
            description="A challenger from the present features and labels, judged, and if it passes, packaged.",
        ),
    ]
