"""How far each feature has moved from one observation month to the next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from churn_platform.features.catalogue import Feature
from churn_platform.monitoring.columns import FeatureFiles
from churn_platform.monitoring.drift import ColumnDrift, by_size, compare_column, fit_column


def month_to_month(before: Path, now: Path, catalogue: Sequence[Feature]) -> list[ColumnDrift]:
    """PSI of each feature between two feature tables, the largest first; bins are those of the earlier month.

    Raises:
        FeatureError: a table lacks a feature of the catalogue.
    """
    earlier, later = FeatureFiles([before]), FeatureFiles([now])
    found = []
    for feature in catalogue:
        reference = fit_column(feature.name, feature.kind, earlier.read(feature.name, feature.kind))
        found.append(compare_column(reference, later.read(feature.name, feature.kind)))
    return by_size(found)
