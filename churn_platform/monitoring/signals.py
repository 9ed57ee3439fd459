"""The signals that a diagnosis goes by, read from feature tables, labels and table versions."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from churn_platform.evaluation.metrics import Floats, auc, sigmoid
from churn_platform.features.month import lacking
from churn_platform.features.observation import instant
from churn_platform.monitoring.diagnosis import Feed, Outcome, Ranking, Untrusted, auc_deviation
from churn_platform.sources.tables import TableVersion

if TYPE_CHECKING:
    from churn_platform.champion.model import ChampionModel

USUAL_MONTHS = 6
LEAST_EACH = 10
"""Fewest customers who left, and who stayed, for an AUC."""


def feeds_of(versions: Mapping[str, TableVersion], months: Sequence[str], month: str) -> tuple[Feed, ...]:
    """What each table brought in the month that ends at ``month``, and usually before.

    Args:
        versions: table → what was known of it by ``month``.
        months: all observation months, in order.
    """
    found = []
    for table, version in versions.items():
        rows = {part.known_by: part.rows for part in version.parts}
        # A month without the feed is not what is usual, however many there are: else it is forgotten while it stays
        # away. The first month of all holds the whole past.
        brought: list[int] = []
        for earlier in (m for m in months[1:] if m < month):
            usual = brought[-USUAL_MONTHS:]
            if not usual or not Feed(table, rows.get(earlier, 0), float(statistics.median(usual))).dried_up:
                brought.append(rows.get(earlier, 0))
        if usual := brought[-USUAL_MONTHS:]:
            found.append(Feed(table, rows.get(month, 0), float(statistics.median(usual))))
    return tuple(found)


def untrusted_columns(
    versions: Mapping[str, TableVersion], blocked: Mapping[str, str], reads: Collection[str]
) -> tuple[Untrusted, ...]:
    """The columns for which features that a model reads are blank.

    Args:
        versions: table → what was known of it by the month.
        blocked: feature → why it is blank for some customers, in the words of the table's part.
        reads: the features of the model.
    """
    hurt = {feature: why for feature, why in blocked.items() if feature in reads}
    found: dict[tuple[str, str], Untrusted] = {}
    for table, version in versions.items():
        for column, why in [told for part in version.parts for told in part.blocked]:
            features = tuple(sorted(feature for feature, words in hurt.items() if why in words))
            if features:
                found[(table, column)] = Untrusted(table, column, why, features)
    return tuple(found.values())


class MonthScores:
    """The champion's margins on one month's customers, beside their labels.

    Args:
        features, labels: Parquet files of the month.
    """

    def __init__(self, model: ChampionModel, features: Path, labels: Path) -> None:
        import pyarrow.parquet as pq

        table = pq.read_table(features)
        columns = {f.name: _column(table, f.name) for f in model.features}
        margin = np.asarray(model.score(columns, explain=False).margin, dtype=np.float64)
        scored = dict(zip(table["customer_id"].to_pylist(), margin.tolist(), strict=True))
        told = pq.read_table(labels).to_pylist()
        self.label = np.array([np.nan if row["label"] is None else row["label"] for row in told], dtype=np.float64)
        self.so_far = np.array([row["so_far"] or "" for row in told], dtype=object)
        self.outcome = np.array([row["outcome"] for row in told], dtype=object)
        self.margin: Floats = np.array([scored[row["customer_id"]] for row in told], dtype=np.float64)

    def window(self, month: str, *, as_of: datetime, gap: int, horizon: int) -> tuple[Floats, Floats, float]:
        """Margins and departures known so far (n each, 1.0 left), and the share of the window that has passed.

        Customers who left involuntarily, or before the window, are left out, as in the label.
        """
        opens = instant(month) + timedelta(days=gap)
        passed = max(min((as_of - opens) / timedelta(days=horizon), 1.0), 0.0)
        judged = (self.so_far != "involuntary") & ~np.isin(self.outcome, ("left_before", "merged", "involuntary"))
        return self.margin[judged], (self.so_far[judged] == "voluntary").astype(np.float64), passed

    def outcome_so_far(self, month: str, *, as_of: datetime, gap: int, horizon: int, mature: bool) -> Outcome | None:
        """Departures known so far against those expected in the part of the window that has passed; None before half
        of it has."""
        margin, left, passed = self.window(month, as_of=as_of, gap=gap, horizon=horizon)
        if passed < 0.5:
            return None
        return Outcome(month, float(sigmoid(margin).sum()) * passed, int(left.sum()), mature)

    def ranking(self, month: str, judged: float) -> Ranking | None:
        """The AUC on certain labels; None where there are too few."""
        known = ~np.isnan(self.label)
        left = int((self.label[known] == 1).sum())
        stayed = int(known.sum()) - left
        if min(left, stayed) < LEAST_EACH:
            return None
        value = auc(self.label[known].astype(np.int8), self.margin[known])
        return Ranking(month, value, auc_deviation(value, left, stayed), judged)


def _column(table: Any, name: str) -> Any:
    if name not in table.column_names:
        raise lacking(name)
    return np.asarray(table.column(name).to_numpy(zero_copy_only=False))
