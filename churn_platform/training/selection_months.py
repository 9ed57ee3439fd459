"""Which months generated features are chosen on: early training months, never a month that judges a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from churn_platform.errors import TrainingError
from churn_platform.evaluation.splits import Split, forward_folds, temporal_split

STEPS = (3, 6, 11, 22, 44, 88)
"""Numbers of training months at which a choice is made, each about twice the one before: a new choice is a new set of
columns, for which every month is made anew."""
LEAST = 4
"""Months that a choice is made on at least, where the history has them."""
ENOUGH = 600
"""Departures with which a choice is made; more months would cost time and change little."""


def selection_months(labels: Mapping[str, Mapping[str, Any]], horizon_days: int, gap_days: int) -> tuple[str, ...]:
    """Training months up to a step of :data:`STEPS`, the last of them that have :data:`ENOUGH` departures; empty where
    there is no month to hold out, or no fold that moves forward inside them.

    Args:
        labels: observation → the reference of its labels: ``mature``, ``rows``, ``positives``.
    """
    mature = [month for month, ref in sorted(labels.items()) if ref.get("mature") and ref.get("rows")]
    if not mature or "snapshot" in mature:
        return ()
    split = temporal_split(mature, horizon_days, gap_days)
    if split.protocol != "temporal":
        return ()
    step = max((step for step in STEPS if step <= len(split.train)), default=0)
    months = split.train[:step]
    leavers = 0
    for place, month in enumerate(reversed(months), start=1):
        leavers += int(labels[month].get("positives", 0))
        if leavers >= ENOUGH and place >= LEAST:
            months = months[-place:]
            break
    return months if forward_folds(months, horizon_days, gap_days) else ()


def check_months(chosen_on: Sequence[str], split: Split) -> None:
    """A model may be judged only on months that its features were not chosen on.

    Raises:
        TrainingError: where a month of the choice judges the model, or borders on one that does.
    """
    judging = {*split.holdout, *split.embargoed} if split.holdout else set(split.train)
    if seen := sorted(set(chosen_on) & judging):
        raise TrainingError(
            f"The generated features were chosen on {seen[0]}, on which this model would be judged: its evaluation "
            "would flatter.",
            mend="Wait for a further month with certain labels and without a data fault. If that does not help, "
            "materialize candidate_features and feature_selection again.",
        )
