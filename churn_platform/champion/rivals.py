"""The present champion on the rows that a challenger is judged by, so that both are compared on the same outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from churn_platform.champion.package import exported, load_package
from churn_platform.evaluation.predictions import Predictions
from churn_platform.training.dataset import TrainingSet
from churn_platform.training.encode import Floats

if TYPE_CHECKING:
    from churn_platform.records.store import ContentStore


def champion_margins(
    package: str, model: str, predictions: Predictions, rows: TrainingSet, store: ContentStore
) -> Floats | None:
    """Calibrated log-odds of the champion on the judged rows (n); None where the rows lack one of its
    features, or are of months that it has learned from: they would flatter it.

    Args:
        package: tree digest of the champion's package.
        model: digest that the package must have.
    """
    loaded = rows.load(store)
    with exported(store, package) as folder:
        champion = load_package(folder, digest=model)
    if any(feature.name not in loaded.columns for feature in champion.features):
        return None
    learned = set(champion.metadata.get("observations", ()))
    if learned & set(predictions.observation.tolist()):
        return None
    judged = {f.name: loaded.columns[f.name][predictions.row] for f in champion.features}
    return np.asarray(champion.score(judged, explain=False).margin)
