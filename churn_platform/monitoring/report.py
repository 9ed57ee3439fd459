"""The drift report: the newest month against the months that the model learned from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from churn_platform.errors import FeatureError
from churn_platform.monitoring import drift
from churn_platform.monitoring.columns import FeatureFiles
from churn_platform.monitoring.drift import ColumnDrift, Kind, Reference
from churn_platform.monitoring.drift_result import BaseRate, DriftReport, base_rate
from churn_platform.records.files import remove, replace_folder, temporary_name, write_atomic

if TYPE_CHECKING:
    from churn_platform.features.catalogue import Feature

__all__ = ["BaseRate", "DriftReport", "base_rate", "drift_report", "fit_reference"]

IDENTIFIERS = frozenset({"customer_id", "account_id"})


def fit_reference(paths: Sequence[Path], features: Sequence[Feature]) -> Reference:
    """Fit the bins of every feature on the feature Parquet files of the training months.

    Raises:
        FeatureError: if there is no file, or a feature is missing from one or of another kind.
    """
    files = FeatureFiles(paths)
    return Reference(
        {
            f.name: drift.fit_column(f.name, f.kind, files.read(f.name, f.kind))
            for f in features
            if f.name not in IDENTIFIERS
        }
    )


def drift_report(
    reference: Sequence[Path] | Reference,
    current: Path,
    features: Sequence[Feature],
    *,
    out_dir: Path,
    sample: int = 10_000,
    seed: int = 0,
    reference_scores: NDArray[Any] | None = None,
    current_scores: NDArray[Any] | None = None,
    reference_labels: NDArray[Any] | None = None,
    current_labels: NDArray[Any] | None = None,
    evidently: bool = True,
) -> DriftReport:
    """Compare one month's features with the training months and write the report into ``out_dir``.

    PSI is computed over all rows with the bins of the reference; Evidently's page is drawn from samples.
    Customer ids are never read.

    Args:
        reference: feature Parquet files of the training months; or a stored reference (no Evidently page).
        current: the feature Parquet file of the newest month.
        features: the catalogue: which columns there are and of which kind.
        sample: at most so many rows of each side for Evidently.
        reference_scores, current_scores: predicted probabilities, shape (n,) each.
        reference_labels, current_labels: 1 left, 0 stayed, NaN or None without a label; shape (n,) each.
        evidently: write Evidently's HTML and JSON too.

    Raises:
        FeatureError: if a feature is missing from a file or of another kind, or there is no reference file.
    """
    features = [f for f in features if f.name not in IDENTIFIERS]
    kinds: dict[str, Kind] = {f.name: f.kind for f in features}
    now = FeatureFiles([current])
    if isinstance(reference, Reference):
        before, bins = None, _same_columns(reference, kinds)
    else:
        before, bins = FeatureFiles(reference), fit_reference(reference, features)
    columns = drift.by_size(
        [
            drift.compare_column(bins.columns[name], now.read(name, kind), smoothing=bins.smoothing)
            for name, kind in kinds.items()
        ]
    )
    notes: list[str] = []
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    prepared = temporary_name(out_dir.parent)
    prepared.mkdir()
    try:
        page = None
        if evidently and before is not None:
            page = _page(before, now, kinds, bins, prepared, sample, seed, notes)
        report = DriftReport(
            reference_rows=max((c.rows for c in bins.columns.values()), default=0),
            current_rows=now.rows,
            columns=tuple(columns),
            share_drifted=drift.share_drifted(columns),
            scores=_scores(reference_scores, current_scores),
            base_rate=base_rate(reference_labels, current_labels),
            labels_of={f.name: f.label for f in features},
            notes=tuple(notes),
            reference=bins,
            folder=out_dir,
            evidently_html=out_dir / "evidently.html" if page else None,
            evidently_json=out_dir / "evidently.json" if page else None,
        )
        write_atomic(prepared / "reference.json", _dump(bins.to_json()), durable=False)
        write_atomic(prepared / "report.json", _dump(report.to_json()), durable=False)
        write_atomic(prepared / "report.md", report.markdown().encode(), durable=False)
        replace_folder(prepared, out_dir)
    finally:
        remove(prepared)
    return report


def _same_columns(reference: Reference, kinds: dict[str, Kind]) -> Reference:
    for name, kind in kinds.items():
        found = reference.columns.get(name)
        if found is None or found.kind != kind:
            raise FeatureError(
                f"The stored drift reference has no {kind} column {name}.",
                mend="Make the drift reference again from the months that the model learned from.",
                field=name,
            )
    return reference


def _page(
    before: FeatureFiles,
    now: FeatureFiles,
    kinds: dict[str, Kind],
    fitted: Reference,
    folder: Path,
    sample: int,
    seed: int,
    notes: list[str],
) -> bool:
    """Write Evidently's page and say in ``notes`` what it does not show. Whether there is one."""
    from churn_platform.monitoring.evidently_page import Sample, write_page

    generator = np.random.default_rng(seed)
    sides = []
    for name, files in (("training months", before), ("current month", now)):
        rows = files.sample(sample, generator)
        if rows is not None:
            notes.append(f"Evidently's page shows {len(rows):,} of {files.rows:,} rows of the {name}.")
        size = files.rows if rows is None else len(rows)
        sides.append(Sample({n: files.read(n, k, rows) for n, k in kinds.items()}, size))
    page = write_page(sides[0], sides[1], kinds=kinds, reference=fitted, folder=folder)
    notes += [f"Left out of Evidently's page: {name}: {why}." for name, why in page.left_out.items()]
    if page.html is None:
        notes.append("There is no Evidently page: no column has values on both sides.")
    return page.html is not None


def _scores(before: NDArray[Any] | None, now: NDArray[Any] | None) -> ColumnDrift | None:
    if before is None or now is None:
        return None
    return drift.compare_column(drift.fit_column("probability", "number", before), now)


def _dump(value: Any) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False).encode()
