"""Drift reports of several months against the months a model learned from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from churn_platform.features.catalogue import catalogue_for
from churn_platform.monitoring.report import DriftReport, drift_report
from churn_platform.sources.contract import Contract


def drift_of_months(
    learned: Mapping[str, Path],
    current: Mapping[str, Path],
    *,
    contract: Contract,
    out_dir: Path,
    progress: Callable[[str, float], None] | None = None,
) -> dict[str, DriftReport]:
    """A report for each month of ``current``, below ``out_dir/<month>``.

    Args:
        learned: observation → feature table that the model learned from: the reference, fitted once.
        current: observation → feature table to look at. Evidently's page costs seconds, so only the newest has one.
    """
    catalogue = catalogue_for(contract)
    newest = max(current)
    reports: dict[str, DriftReport] = {}
    # The newest first: its reference, fitted from the files, then serves all others.
    for done, month in enumerate(sorted(current, reverse=True), start=1):
        reference = list(learned.values()) if month == newest else reports[newest].reference
        reports[month] = drift_report(
            reference, current[month], catalogue, out_dir=out_dir / month, evidently=month == newest
        )
        if progress is not None:
            progress(month, done / len(current))
    return reports
