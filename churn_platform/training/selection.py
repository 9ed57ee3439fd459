"""Choosing generated features: cost, null share, redundancy, stability over months, importance inside forward folds.

Every candidate that falls has its reason. Importance is measured beside shadows (columns shuffled by row: Kursa and
Rudnicki 2010), and the set that is kept lowers the log loss of later months inside the training months; otherwise none
is kept. Held-out months are never read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from churn_platform.evaluation.metrics import Array, auc, log_loss, midranks, sigmoid
from churn_platform.training import boosting
from churn_platform.training.encode import Floats
from churn_platform.training.sampling import sample_negatives
from churn_platform.training.selection_rows import SelectionRows

Stage = Literal["cost", "nulls", "redundancy", "stability", "importance", "kept"]
Fold = tuple[Array, Array]

SCHEMA = "feature_selection/1"
NULL_LIMIT = 0.9
ALIKE_LIMIT = 0.97
PSI_LIMIT = 0.25
LEAST_LEAVERS = 200
"""With fewer, a choice among hundreds is chance."""
SHADOWS = 20
RANKED_ROWS = 12_000
FIT_ROWS = 20_000
SIZES = (8, 16)
GAIN = 5e-4
"""Least improvement of the log loss, as a share of it, for which further columns are worth keeping."""
ENOUGH = 0.5
"""Share of the best improvement with which fewer columns are preferred: each is made and watched every month."""
FOLDS = 2
ROUNDS, PATIENCE = 120, 12
PARAMS: dict[str, Any] = {
    "max_depth": 3,
    "num_leaves": 8,
    "learning_rate": 0.08,
    "min_data_in_leaf": 60,
    "lambda_l2": 10.0,
    "feature_fraction": 0.3,
    "bagging_fraction": 0.8,
}


@dataclass(frozen=True)
class Verdict:
    """What became of one candidate.

    Attributes:
        name, label, template, table: see :class:`~churn_platform.features.candidates.Candidate`.
        stage: where it fell, or ``kept``.
        reason: why, as a sentence.
        figures: what was measured: ``cost``, ``null_share``, ``auc`` (alone), ``alike`` (rank correlation with what is
            named in the reason), ``psi``, ``gain`` (share of all gain in the folds), as far as it came.
    """

    name: str
    label: str
    template: str
    table: str
    stage: Stage
    reason: str
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Selection:
    """A chosen set of generated features.

    Attributes:
        chosen: names, in the candidates' order.
        carried: names that are made all the same: the champion in force reads them.
        verdicts: one for each candidate.
        months: what the choice was made on.
        losses: number of candidates → mean log loss over the folds; "0" is the hand-made features alone.
        note: why nothing was chosen, where nothing could be.
    """

    chosen: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    months: tuple[str, ...]
    losses: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    carried: tuple[str, ...] = ()

    @property
    def judging(self) -> tuple[str, ...]:
        """The months on which no model with these features may be judged; none where nothing was chosen."""
        return self.months if self.chosen else ()

    def to_json(self) -> dict[str, Any]:
        """As JSON; free of pseudonyms and of times, so that the same data makes the same digest."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Selection:
        """The inverse of :meth:`to_json`."""
        return cls(
            chosen=tuple(value["chosen"]),
            carried=tuple(value["carried"]),
            verdicts=tuple(Verdict(**one) for one in value["verdicts"]),
            months=tuple(value["months"]),
            losses=value["losses"],
            note=value["note"],
        )


def select(rows: SelectionRows, folds: Sequence[Fold], *, seed: int = 0, threads: int = 1) -> Selection:
    """Choose among the candidates of ``rows``.

    Args:
        folds: (learn, validate) row numbers, moving forward in time, all inside the months of the choice.
    """
    folds = folds[-FOLDS:]
    leavers = int(rows.y.sum())
    if leavers < LEAST_LEAVERS or not folds:
        why = f"{leavers} departures are too few to choose among {len(rows.candidates)} candidates: {LEAST_LEAVERS} are"
        note = f"{why} needed." if folds else "No fold moves forward inside the months of the choice."
        return Selection((), tuple(_verdict(rows, i, "importance", note) for i in range(len(rows.candidates))),
                         rows.months, note=note)  # fmt: skip
    fallen: dict[int, Verdict] = {}
    figures: list[dict[str, float]] = [{} for _ in rows.candidates]

    def drop(i: int, stage: Stage, reason: str) -> None:
        fallen[i] = _verdict(rows, i, stage, reason, figures[i])

    _by_nulls(rows, figures, drop)
    _by_redundancy(rows, figures, drop, fallen)
    _by_stability(rows, figures, drop, fallen)
    left = [i for i in range(len(rows.candidates)) if i not in fallen]
    order = _by_importance(rows, folds, left, figures, drop, seed, threads)
    kept, losses = _best_size(rows, folds, order, seed, threads)
    for place, i in enumerate(order):
        if i in kept:
            reason = f"number {place + 1} by importance; with the {len(kept)} kept, later months are foretold better"
            fallen[i] = _verdict(rows, i, "kept", reason, figures[i])
        else:
            limit = f"{len(kept)} generated features" if kept else "the hand-made features alone"
            drop(i, "importance", f"beyond {limit}, more columns do not foretell later months better")
    verdicts = tuple(fallen[i] for i in range(len(rows.candidates)))
    chosen = tuple(v.name for v in verdicts if v.stage == "kept")
    return Selection(chosen, verdicts, rows.months, losses)


def _verdict(
    rows: SelectionRows, i: int, stage: Stage, reason: str, figures: Mapping[str, float] | None = None
) -> Verdict:
    one = rows.candidates[i]
    rounded = {name: round(float(value), 6) for name, value in (figures or {}).items()}
    return Verdict(one.name, one.label, one.template, one.table, stage, reason, rounded)


def _by_nulls(rows: SelectionRows, figures: list[dict[str, float]], drop: Any) -> None:
    for i, column in enumerate(rows.x.T):
        known = column[~np.isnan(column)]
        share = 1.0 - len(known) / len(column)
        figures[i]["null_share"] = share
        if share > NULL_LIMIT:
            drop(i, "nulls", f"null for {100 * share:.0f} % of the rows; at most {100 * NULL_LIMIT:.0f} % may be")
        elif len(known) == 0 or known.min() == known.max():
            drop(i, "nulls", "the same for everybody")


def _spread(count: int, most: int) -> Array:
    return np.arange(count) if count <= most else np.unique(np.linspace(0, count - 1, most).astype(np.int64))


def _standard_ranks(values: Floats) -> Floats:
    """Columns as centred ranks of unit length; what is unknown lies in the middle."""
    ranks = np.zeros_like(values)
    for j, column in enumerate(values.T):
        known = ~np.isnan(column)
        if known.any():
            own = midranks(column[known])
            ranks[known, j] = own - own.mean()
    length = np.sqrt((ranks**2).sum(axis=0))
    return np.asarray(ranks / np.where(length > 0, length, 1.0))


def _by_redundancy(rows: SelectionRows, figures: list[dict[str, float]], drop: Any, fallen: Mapping[int, Any]) -> None:
    """Of those that rank customers alike, the one stays that tells leavers best alone; a hand-made one always."""
    sample = _spread(len(rows.y), RANKED_ROWS)
    y = rows.y[sample]
    left = [i for i in range(len(rows.candidates)) if i not in fallen]
    base, own = _standard_ranks(rows.base[sample]), _standard_ranks(rows.x[sample][:, left])
    for place, i in enumerate(left):
        # what is unknown lies in the middle of the ranks
        figures[i]["auc"] = auc(y, own[:, place])
    against_base, among = np.abs(own.T @ base), np.abs(own.T @ own)
    kept: list[int] = []
    for place in sorted(range(len(left)), key=lambda p: (-abs(figures[left[p]]["auc"] - 0.5), p)):
        i = left[place]
        if rows.candidates[i].category:
            kept.append(place)
            continue
        if against_base.shape[1] and against_base[place].max() >= ALIKE_LIMIT:
            other, alike = rows.base_names[int(against_base[place].argmax())], float(against_base[place].max())
        elif kept and among[place, kept].max() >= ALIKE_LIMIT:
            nearest = kept[int(among[place, kept].argmax())]
            other, alike = rows.candidates[left[nearest]].name, float(among[place, kept].max())
        else:
            kept.append(place)
            continue
        figures[i]["alike"] = alike
        drop(i, "redundancy", f"ranks customers as {other} does (rank correlation {alike:.3f})")


def _by_stability(rows: SelectionRows, figures: list[dict[str, float]], drop: Any, fallen: Mapping[int, Any]) -> None:
    """PSI of the later half of the months against the earlier half, by tenths of the earlier."""
    early = np.isin(rows.month, rows.months[: len(rows.months) // 2])
    for i in [i for i in range(len(rows.candidates)) if i not in fallen]:
        shift = figures[i]["psi"] = psi(rows.x[early, i], rows.x[~early, i])
        if shift > PSI_LIMIT:
            drop(i, "stability", f"its distribution moves between months (PSI {shift:.2f}; at most {PSI_LIMIT:g})")


def psi(reference: Floats, current: Floats, bins: int = 10) -> float:
    """Population stability index, with what is unknown as a bin of its own; half a row is added to each bin."""
    known = reference[~np.isnan(reference)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1])) if len(known) else np.empty(0)

    def shares(values: Floats) -> Floats:
        missing = np.isnan(values)
        counted = np.bincount(np.searchsorted(edges, values[~missing], side="left"), minlength=len(edges) + 1)
        counts = np.append(counted, missing.sum()) + 0.5
        return np.asarray(counts / counts.sum())

    before, after = shares(reference), shares(current)
    return float(((after - before) * np.log(after / before)).sum())


def _by_importance(
    rows: SelectionRows,
    folds: Sequence[Fold],
    left: Sequence[int],
    figures: list[dict[str, float]],
    drop: Any,
    seed: int,
    threads: int,
) -> list[int]:
    """Those that the trees use more than shuffled columns, best first: mean share of the gain over the folds."""
    if not left:
        return []
    rng = np.random.default_rng(seed)
    shadows = rows.x[:, rng.choice(left, SHADOWS)].copy()
    for column in shadows.T:
        column[:] = rng.permutation(column)
    x = np.column_stack([rows.base, rows.x[:, left], shadows])
    width = rows.base.shape[1]
    categorical = [*rows.categorical, *(width + p for p, i in enumerate(left) if rows.candidates[i].category)]
    gains = np.zeros(x.shape[1])
    for learn, validate in folds:
        booster, _ = _fit(x, rows.y, learn, validate, categorical, seed, threads)
        gain = booster.feature_importance("gain", iteration=booster.best_iteration)
        gains += gain / max(gain.sum(), 1e-12) / len(folds)
    own, floor = gains[width : width + len(left)], float(gains[width + len(left) :].max())
    for place, i in enumerate(left):
        figures[i]["gain"] = float(own[place])
        if own[place] <= floor:
            drop(i, "importance", f"no more use than shuffled columns ({own[place]:.2%} of the gain; they {floor:.2%})")
    return [left[p] for p in np.argsort(-own, kind="stable") if own[p] > floor]


def _best_size(
    rows: SelectionRows, folds: Sequence[Fold], order: Sequence[int], seed: int, threads: int
) -> tuple[set[int], dict[str, float]]:
    """The least number of candidates, best first, that has most of what any number of them gains on later months; 0
    unless that is worth it."""
    sizes = sorted({0, *(min(size, len(order)) for size in SIZES)})
    losses: dict[str, float] = {}
    for size in sizes:
        taken = list(order[:size])
        x = np.column_stack([rows.base, rows.x[:, taken]])
        width = rows.base.shape[1]
        categorical = [*rows.categorical, *(width + p for p, i in enumerate(taken) if rows.candidates[i].category)]
        found = [_fit(x, rows.y, learn, validate, categorical, seed, threads)[1] for learn, validate in folds]
        losses[str(size)] = round(float(np.mean(found)), 6)
    gained = {size: losses["0"] - losses[str(size)] for size in sizes}
    most = max(gained.values())
    best = 0
    if most >= GAIN * losses["0"]:
        best = min(size for size in sizes if gained[size] >= ENOUGH * most)
    return set(order[:best]), losses


def _fit(
    x: Floats, y: Array, learn: Array, validate: Array, categorical: Sequence[int], seed: int, threads: int
) -> tuple[Any, float]:
    """A booster of the months to learn from, stopped by the month that validates, and its log loss there."""
    import lightgbm as lgb

    taken, weight = sample_negatives(y, learn, FIT_ROWS, seed)
    learning = boosting.dataset(x[taken], y[taken], categorical, weight=weight)
    validation = learning.create_valid(np.ascontiguousarray(x[validate]), np.asarray(y[validate], dtype=np.float64))
    stop = lgb.early_stopping(PATIENCE, first_metric_only=True, verbose=False)
    options = {"valid_sets": [validation], "callbacks": [stop]}
    booster = boosting.fit(learning, PARAMS, ROUNDS, seed=seed, threads=threads, **options)
    margin = boosting.raw_margin(booster, x[validate], rounds=booster.best_iteration, threads=threads)
    return booster, log_loss(y[validate], sigmoid(margin))
