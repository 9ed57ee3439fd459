"""Which rows teach, which rows judge: splits in time with an embargo, and folds by customer where time is too
short."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from churn_platform.errors import NotEnoughDataError
from churn_platform.evaluation.metrics import Array

Protocol = Literal["temporal", "grouped", "out_of_fold"]
Tier = Literal["rules", "small", "full"]

HOLDOUT_MONTHS = 3
FORWARD_FOLDS = 3
LEAST_TRAINING = 3  # months that teach, before a further month is held out
LUMPS = 4  # a group of more than this part of a fold has to be dealt out with care
SNAPSHOT = "snapshot"


@dataclass(frozen=True)
class Split:
    """How a training set is divided.

    Attributes:
        train: observation keys whose rows the model learns from, in order.
        holdout: the last ones, on which it is judged; empty where there is no room for any.
        embargoed: between the two, never used: their label windows reach into the holdout.
        folds: (learn, validate) pairs of observation keys inside ``train``, moving forward; empty where
            history is too short, and folds are then drawn by customer (:func:`stratified_groups`).
        protocol: how the evaluation is made: "temporal" on the holdout; "grouped" out of fold by customer,
            where there is no holdout; "out_of_fold" for a snapshot.
    """

    train: tuple[str, ...]
    holdout: tuple[str, ...]
    embargoed: tuple[str, ...]
    folds: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    protocol: Protocol

    @property
    def tuned_on(self) -> Literal["forward", "grouped"]:
        """Whether the search moves forward in time or only across customers."""
        return "forward" if self.folds else "grouped"

    def without(self, left_out: Collection[str]) -> Split:
        """This split without these months: whatever role each would have had, it has none, and no other changes its."""
        if not left_out:
            return self

        def kept(months: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(month for month in months if month not in left_out)

        folds = [(kept(learn), kept(validate)) for learn, validate in self.folds]
        return Split(
            kept(self.train),
            kept(self.holdout),
            kept(self.embargoed),
            tuple(fold for fold in folds if all(fold)),
            self.protocol,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the evaluation should know about this split, in sentences."""
        if self.protocol == "out_of_fold":
            return ("a flat file has no time: every row is judged by models that saw neither it nor its equals",)
        if self.protocol == "grouped":
            return (
                f"history is too short to hold out a month: {_months(self.train)} judged on folds by customer, so "
                "the figures say nothing about later months",
            )
        said = []
        if len(self.holdout) < HOLDOUT_MONTHS:
            said.append(
                f"history is short: {_months(self.holdout)} held out rather than {HOLDOUT_MONTHS}, so that "
                f"{_months(self.train)} could teach"
            )
        if len(self.embargoed) > 1:
            said.append(f"{_months(self.embargoed)} between the two not used: their label windows reach into the later")
        return tuple(said)


def _months(keys: Sequence[str]) -> str:
    """``3 months (2024-01 to 2024-03)``."""
    span = keys[0][:7] if len(keys) == 1 else f"{keys[0][:7]} to {keys[-1][:7]}"
    return f"{len(keys)} month{'s' * (len(keys) != 1)} ({span})"


def _known_before(observations: Sequence[str], boundary: str, embargo: timedelta) -> tuple[str, ...]:
    """Observations whose whole label window has closed by ``boundary``."""
    limit = date.fromisoformat(boundary)
    return tuple(t for t in observations if date.fromisoformat(t) + embargo <= limit)


def _forward_folds(
    train: Sequence[str], embargo: timedelta, folds: int
) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    """One validation month a fold, the latest ``folds`` of them, each learning from all that was known before
    it."""
    found = []
    for month in train[-folds:]:
        learn = _known_before(train, month, embargo)
        if learn:
            found.append((learn, (month,)))
    return tuple(found)


def forward_folds(
    months: Sequence[str], horizon_days: int, gap_days: int, folds: int = FORWARD_FOLDS
) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    """(learn, validate) months inside ``months``, which are in order: see :func:`temporal_split`."""
    return _forward_folds(months, timedelta(days=horizon_days + gap_days), folds)


def temporal_split(
    observations_mature: Sequence[str],
    horizon_days: int,
    gap_days: int,
    holdout: int = HOLDOUT_MONTHS,
    folds: int = FORWARD_FOLDS,
) -> Split:
    """Divide mature observation dates into training months, an embargo and a holdout.

    A label window is (t + gap, t + gap + horizon]. A training month is kept only if its window has closed by
    the first holdout date, and the same holds inside each fold. The holdout is the largest up to ``holdout``
    months that leaves twice as many training months (and at least three) and at least one forward fold; where
    none does, it is one month, and without a forward fold the folds are drawn by customer.

    Args:
        observations_mature: "YYYY-MM-DD" keys, or only "snapshot".
        horizon_days, gap_days: the label window, in days.

    Raises:
        NotEnoughDataError: without any observation.
    """
    months = tuple(sorted(set(observations_mature)))
    if not months:
        raise NotEnoughDataError(
            "No observation date has mature labels yet.",
            mend="Wait until horizon, gap and delay have passed, or shorten the contract's horizon.",
        )
    if months == (SNAPSHOT,):
        return Split(train=months, holdout=(), embargoed=(), folds=(), protocol="out_of_fold")
    embargo = timedelta(days=horizon_days + gap_days)
    shortest: Split | None = None
    for size in range(min(holdout, len(months) - 1), 0, -1):
        held = months[-size:]
        train = _known_before(months[:-size], held[0], embargo)
        forward = _forward_folds(train, embargo, folds)
        between = tuple(t for t in months[:-size] if t not in train)
        if forward and len(train) >= max(2 * size, LEAST_TRAINING):
            return Split(train, held, between, forward, "temporal")
        if size == 1 and train:
            shortest = Split(train, held, between, forward, "temporal")
    return shortest or Split(train=months, holdout=(), embargoed=(), folds=(), protocol="grouped")


def split_without(months: Sequence[str], left_out: Collection[str], horizon_days: int, gap_days: int) -> Split:
    """The split of months with rows, as it would be with the months that are left out (for a fault of their data): a
    month that is left out moves no other from learning to judging, so that features which were chosen on months that
    teach are not judged on them. Where nothing is left to learn or to judge on, the split of the months themselves.
    """
    whole = temporal_split([*months, *left_out], horizon_days, gap_days).without(left_out)
    if whole.train and (whole.holdout or whole.protocol != "temporal"):
        return whole
    return temporal_split(months, horizon_days, gap_days)


def stratified_groups(y: Array, groups: Array, folds: int, seed: int) -> npt.NDArray[np.int64]:
    """The fold (0 … folds - 1) of each row: a group is never divided, and groups with a positive are spread
    evenly.

    Groups are customers, or sets of equal rows in a snapshot. Where they are few or large (a flat file of a plan and a
    region), they are dealt out by size, so that rows and positives are spread rather than groups. Depends on the seed
    and on the order of group codes only.

    Raises:
        NotEnoughDataError: where not every fold can hold rows with and without a positive.
    """
    y = np.asarray(y) == 1
    codes = np.unique(np.asarray(groups), return_inverse=True)[1]
    count = int(codes.max()) + 1 if len(codes) else 0
    positives, sizes = np.bincount(codes, weights=y, minlength=count), np.bincount(codes, minlength=count)
    with_positive = positives > 0
    rng = np.random.default_rng(seed)
    if min(int(with_positive.sum()), int((~with_positive).sum())) < folds or sizes.max() * folds * LUMPS > len(y):
        fold = _dealt_by_size(positives, sizes, folds, rng)[codes]
    else:
        fold = _dealt_evenly(with_positive, folds, rng)[codes]
    left, stayed = (np.bincount(fold[y == side], minlength=folds) for side in (True, False))
    if min(left.min(), stayed.min()) == 0:
        few = f", in {count} kinds of equal rows" if count < len(y) else ""
        raise NotEnoughDataError(
            f"{int(y.sum())} rows are of who left and {int((~y).sum())} of who stayed{few}: too few for {folds} folds.",
            mend="Take more customers or more months; of a flat file, more columns that tell customers apart.",
        )
    return fold


def _dealt_evenly(with_positive: npt.NDArray[np.bool_], folds: int, rng: Any) -> npt.NDArray[np.int64]:
    fold_of = np.empty(len(with_positive), dtype=np.int64)
    start = 0
    for stratum in (with_positive, ~with_positive):
        members = rng.permutation(np.flatnonzero(stratum))
        fold_of[members] = (np.arange(len(members)) + start) % folds
        start += len(members)
    return fold_of


def _dealt_by_size(positives: Array, sizes: Array, folds: int, rng: Any) -> npt.NDArray[np.int64]:
    """Largest first, each to the fold that has least of what it brings: positives and negatives, each by its share."""
    shuffled = rng.permutation(len(sizes))
    order = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    brings = np.stack([positives, sizes - positives]).astype(np.float64)
    brings /= np.maximum(brings.sum(axis=1, keepdims=True), 1.0)
    held = np.zeros((2, folds))
    fold_of = np.empty(len(sizes), dtype=np.int64)
    for group in order:
        share = brings[:, group]
        chosen = int(np.argmin(share @ held))
        fold_of[group] = chosen
        held[:, chosen] += share
    return fold_of


def churners(y: Array, groups: Array) -> int:
    """How many different customers left: overlapping label windows count one departure in several rows.

    Args:
        groups: whose each row is (``TrainingRows.customer``), never sets of equal rows.
    """
    return len(np.unique(np.asarray(groups)[np.asarray(y) == 1]))


def evidence_tier(churners_seen: int) -> Tier:
    """What the number of churners learned from allows.

    "rules" below 50: no probabilities; "small" below 200: a shrunk logistic regression; "full" from 200 on.
    Riley et al. (2020) give the order of magnitude: about ten events for each effective parameter.
    """
    if churners_seen < 50:
        return "rules"
    return "small" if churners_seen < 200 else "full"
