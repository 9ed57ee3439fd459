"""What a drift report holds, and how it reads: as Markdown, as flat figures, as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churn_platform.monitoring import drift
from churn_platform.monitoring.drift import ColumnDrift, Reference
from churn_platform.monitoring.markdown import bar, percent, table

SCHEMA = "drift-report/1"
DRIFTED_SHARE = 0.30  # from this share of shifted columns on, the population as a whole counts as another one


@dataclass(frozen=True)
class BaseRate:
    """Share of leavers among the labelled, before and now, with a 99 % Wilson interval around the present."""

    before: float
    now: float
    now_low: float
    now_high: float

    @property
    def changed(self) -> bool:
        """Whether the earlier share lies outside the present interval."""
        return not self.now_low <= self.before <= self.now_high


@dataclass(frozen=True)
class DriftReport:
    """What was found, most moved column first.

    Attributes:
        columns: one :class:`~churn_platform.monitoring.drift.ColumnDrift` per feature.
        scores: the same for the predicted probabilities, where both sides were given.
        labels_of: feature name to its words for people.
        notes: what a reader must know: columns left out of Evidently's page, sampling.
        folder: where report.md, report.json, reference.json and Evidently's files lie.
    """

    reference_rows: int
    current_rows: int
    columns: tuple[ColumnDrift, ...]
    share_drifted: float
    scores: ColumnDrift | None
    base_rate: BaseRate | None
    labels_of: dict[str, str]
    notes: tuple[str, ...]
    reference: Reference
    folder: Path
    evidently_html: Path | None
    evidently_json: Path | None

    @property
    def drifted(self) -> bool:
        return self.share_drifted >= DRIFTED_SHARE

    def to_json(self) -> dict[str, Any]:
        """A JSON value without NaN (null instead) and without paths."""
        value: dict[str, Any] = {
            "schema": SCHEMA,
            "reference_rows": self.reference_rows,
            "current_rows": self.current_rows,
            "thresholds": {
                "moderate": drift.MODERATE,
                "shifted": drift.SHIFTED,
                "drifted_share": DRIFTED_SHARE,
            },
            "share_drifted": self.share_drifted,
            "drifted": self.drifted,
            "columns": [asdict(column) for column in self.columns],
            "scores": asdict(self.scores) if self.scores else None,
            "base_rate": {**asdict(self.base_rate), "changed": self.base_rate.changed} if self.base_rate else None,
            "notes": list(self.notes),
        }
        return _without_nan(value)  # type: ignore[no-any-return]

    def metadata(self) -> dict[str, float | int | str | bool]:
        """Flat figures for an asset's metadata."""
        counts = dict.fromkeys(("stable", "moderate", "shifted", "inconclusive", "empty"), 0)
        for column in self.columns:
            counts[column.verdict] += 1
        found: dict[str, float | int | str | bool] = {
            "reference_rows": self.reference_rows,
            "current_rows": self.current_rows,
            "share_drifted": self.share_drifted,
            "drifted": self.drifted,
            **{f"columns_{name}": count for name, count in counts.items()},
        }
        if self.columns and not math.isnan(self.columns[0].psi):
            found["most_moved"] = self.columns[0].name
            found["most_moved_psi"] = self.columns[0].psi
        if self.scores and not math.isnan(self.scores.psi):
            found["score_psi"] = self.scores.psi
        if self.base_rate:
            found["base_rate_before"], found["base_rate_now"] = self.base_rate.before, self.base_rate.now
        return found

    def markdown(self, top: int = 15) -> str:
        """The report for people, with the ``top`` most moved columns."""
        moved = sum(c.verdict in ("shifted", "empty") for c in self.columns)
        lines = [
            "# Drift",
            "",
            f"{self.current_rows:,} customers now against {self.reference_rows:,} customer-months that the "
            f"model learned from. {moved} of {len(self.columns)} columns have shifted "
            f"({percent(self.share_drifted)}; from {percent(DRIFTED_SHARE, 0)} on, the population counts as "
            "another).",
            "",
            f"PSI up to {drift.MODERATE} is stable, up to {drift.SHIFTED} moderate, above shifted. *noise* "
            "is what PSI stays below 99 times in 100 where nothing has changed: below it is no shift.",
            "",
            table(
                ["column", "verdict", "PSI", "", "noise", "missing before", "missing now", "moved most"],
                [
                    [
                        self.labels_of.get(c.name, c.name),
                        c.verdict,
                        c.psi,
                        bar(c.psi, 2 * drift.SHIFTED),
                        c.noise,
                        percent(c.missing_before),
                        percent(c.missing_now),
                        c.largest,
                    ]
                    for c in self.columns[:top]
                ],
            ),
        ]
        if self.scores:
            lines += ["", f"Predicted probabilities: PSI {self.scores.psi:.3f} ({self.scores.verdict})."]
        if self.base_rate:
            rate = self.base_rate
            said = "changed" if rate.changed else "not distinguishable from before"
            lines += [
                "",
                f"Leavers among labelled customers: {percent(rate.before, 2)} before, {percent(rate.now, 2)} "
                f"now ({percent(rate.now_low, 2)} to {percent(rate.now_high, 2)}): {said}.",
            ]
        if self.notes:
            lines += ["", *(f"- {note}" for note in self.notes)]
        return "\n".join(lines) + "\n"


def base_rate(before: NDArray[Any] | None, now: NDArray[Any] | None) -> BaseRate | None:
    """Shares of leavers among the labelled (shape (n,): 1, 0, NaN or None); None where a side has none."""
    if before is None or now is None:
        return None
    sides = []
    for values in (before, now):
        numbers = np.array([math.nan if v is None else float(v) for v in np.asarray(values, object)], np.float64)
        known = numbers[~np.isnan(numbers)]
        if not known.size:
            return None
        sides.append((float(known.mean()), int(known.size)))
    (p0, _), (p1, n) = sides
    z = 2.5758
    centre, half = (
        (p1 + z * z / (2 * n)) / (1 + z * z / n),
        z * math.sqrt(p1 * (1 - p1) / n + z * z / (4 * n * n)) / (1 + z * z / n),
    )
    return BaseRate(p0, p1, max(centre - half, 0.0), min(centre + half, 1.0))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
