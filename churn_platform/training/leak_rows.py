"""Evidence of leaks in rows: a column that tells leavers from stayers by itself, and rows that stand in two folds."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from churn_platform.evaluation.metrics import auc
from churn_platform.evaluation.splits import SNAPSHOT, split_without
from churn_platform.training.leak import Leak

if TYPE_CHECKING:
    from churn_platform.training.dataset import TrainingRows

Array = npt.NDArray[Any]

SUSPICIOUS_AUC = 0.98
"""Honest churn models reach .65 to .92; a single column above this was written after the fact."""
MISSING_AUC = 0.95
PURE_SHARE, PURE_ODDS, PURE_COVERAGE, PURE_ROWS = 0.99, 100.0, 0.1, 20
"""A value that (almost) only the smaller class has: share of it, odds ratio, share of the class, rows."""
FEW = 20
"""With fewer rows of a class nothing is said."""
SAMPLE, BINS, LEVELS = 200_000, 64, 50
COPIES, LIKE_AN_ID = 0.05, 0.9


def training_leaks(rows: TrainingRows, *, shape: str, horizon_days: int, gap_days: int) -> tuple[Leak, ...]:
    """Leaks that the training rows show: one feature that separates the classes, and rows in two folds.

    Args:
        rows: all labelled rows; only those of training months are looked at.
    """
    months = sorted(set(rows.observation.tolist()))
    kept = set(split_without(months, rows.left_out, horizon_days, gap_days).train)
    mask = np.isin(rows.observation, sorted(kept))
    columns = {name: values[mask] for name, values in rows.columns.items()}
    y, group, observation = rows.label[mask], rows.group[mask], rows.observation[mask]
    return (
        *duplicate_leaks(columns, y, group, observation, shape=shape),
        *column_leaks(columns, y, group),
    )


def column_leaks(columns: Mapping[str, Array], y: Array, group: Array) -> tuple[Leak, ...]:
    """Columns that tell the classes apart by themselves.

    Args:
        columns: name → n values: float64 with NaN, or text with None.
        y: n labels, 0 or 1.
        group: n numbers; rows of one group stay together when a column is judged on rows it was not fitted on.
    """
    if len(y) > SAMPLE:
        keep = _half(group, salt=len(y), parts=-(-len(y) // SAMPLE)) == 0
        columns, y, group = {n: v[keep] for n, v in columns.items()}, y[keep], group[keep]
    positives = int((y == 1).sum())
    if min(positives, len(y) - positives) < FEW:
        return ()
    found = []
    for name, values in columns.items():
        leak = _missingness(name, values, y) or _pure_value(name, values, y) or _separates(name, values, y, group)
        if leak:
            found.append(leak)
    return tuple(found)


_TAKE_OUT = "See when it is written; take its column out of the contract, or give the time at which it became known."


def _missing(values: Array) -> npt.NDArray[np.bool_]:
    if values.dtype.kind == "f":
        return np.asarray(np.isnan(values))
    return np.asarray([value is None for value in values], dtype=bool)


def _pure(inside: npt.NDArray[np.bool_], y: Array) -> tuple[int, int, int] | None:
    """(class, rows, of that class) where the rows ``inside`` belong (almost) all to the smaller class."""
    smaller = 1 if int((y == 1).sum()) * 2 <= len(y) else 0
    rare = y == smaller
    a, b = int((inside & rare).sum()), int((inside & ~rare).sum())
    c, d = int(rare.sum()) - a, int((~rare).sum()) - b
    odds = ((a + 0.5) * (d + 0.5)) / ((b + 0.5) * (c + 0.5))
    pure = a + b >= PURE_ROWS and a >= PURE_SHARE * (a + b) and a >= PURE_COVERAGE * (a + c) and odds >= PURE_ODDS
    return (smaller, a + b, a) if pure else None


def _who(smaller: int) -> str:
    return "left" if smaller == 1 else "stayed"


def _missingness(name: str, values: Array, y: Array) -> Leak | None:
    absent = _missing(values)
    if not absent.any() or absent.all():
        return None
    for inside, word in ((~absent, "there"), (absent, "missing")):
        if pure := _pure(inside, y):
            smaller, rows, hits = pure
            return Leak(
                "missingness",
                name,
                f"it is {word} in {rows:,} rows, and {hits:,} of them {_who(smaller)}.",
                _TAKE_OUT,
            )
    alone = auc(y, absent.astype(np.float64))
    if max(alone, 1 - alone) > MISSING_AUC:
        return Leak(
            "missingness",
            name,
            f"whether it has a value ranks leavers with an AUC of {max(alone, 1 - alone):.3f} by itself.",
            _TAKE_OUT,
        )
    return None


def _pure_value(name: str, values: Array, y: Array) -> Leak | None:
    present = ~_missing(values)
    levels, counts = np.unique(values[present].astype(str) if values.dtype.kind == "O" else values[present],
                               return_counts=True)  # fmt: skip
    if len(levels) > LEVELS or len(levels) < 2:
        return None
    text = values.astype(str) if values.dtype.kind == "O" else values
    for level, count in zip(levels, counts, strict=True):
        if count >= PURE_ROWS and (pure := _pure(present & (text == level), y)):
            smaller, rows, hits = pure
            return Leak(
                "post_outcome",
                name,
                f"{rows:,} rows have the value {level!s}, and {hits:,} of them {_who(smaller)}.",
                _TAKE_OUT,
            )
    return None


def _separates(name: str, values: Array, y: Array, group: Array) -> Leak | None:
    best = _cross_fitted(_codes(values), y, group)
    if values.dtype.kind == "f":
        absent = np.isnan(values)
        for filled in (np.where(absent, -np.inf, values), np.where(absent, np.inf, values)):
            alone = auc(y, np.unique(filled, return_inverse=True)[1])
            best = max(best, alone, 1 - alone)
    if best <= SUSPICIOUS_AUC:
        return None
    return Leak(
        "separates",
        name,
        f"by itself it ranks the training rows with an AUC of {best:.3f}; honest features stay far below "
        f"{SUSPICIOUS_AUC}.",
        _TAKE_OUT,
    )


def _codes(values: Array) -> npt.NDArray[np.int64]:
    """Values as small numbers: levels of text, quantile bins of numbers, missing apart."""
    absent = _missing(values)
    codes = np.zeros(len(values), dtype=np.int64)
    if values.dtype.kind == "f":
        if not absent.all():
            edges = np.unique(np.quantile(values[~absent], np.linspace(0, 1, BINS + 1)[1:-1]))
            codes[~absent] = 1 + np.searchsorted(edges, values[~absent], side="right")
    else:
        codes[~absent] = 1 + np.unique(values[~absent].astype(str), return_inverse=True)[1]
    return codes


def _half(group: Array, *, salt: int = 0, parts: int = 2) -> npt.NDArray[np.int64]:
    mixed = (np.asarray(group, dtype=np.uint64) + np.uint64(salt)) * np.uint64(0x9E3779B97F4A7C15)
    return np.asarray((mixed >> np.uint64(33)) % np.uint64(parts), dtype=np.int64)


def _cross_fitted(codes: npt.NDArray[np.int64], y: Array, group: Array) -> float:
    """AUC of the mean label of each code, taken from the other half of the groups: what is learned by heart scores
    nothing."""
    half, base, size = _half(group), float(np.mean(y)), int(codes.max()) + 1
    scores = []
    for side in (0, 1):
        learn, judge = half != side, half == side
        if len(np.unique(y[judge])) < 2:
            return 0.5
        hits = np.bincount(codes[learn], weights=y[learn] == 1, minlength=size)
        rate = (hits + base) / (np.bincount(codes[learn], minlength=size) + 1.0)
        scores.append(auc(y[judge], rate[codes[judge]]))
    return float(np.mean(scores))


def duplicate_leaks(
    columns: Mapping[str, Array], y: Array, group: Array, observation: Array, *, shape: str
) -> tuple[Leak, ...]:
    """Rows that would stand in several folds.

    Snapshot: equal rows in different groups; rows that are equal but for one column that looks like an id (copies
    made by resampling, told apart by a running number). Relational: a customer twice at one observation date.
    """
    if shape != SNAPSHOT:
        keys = np.stack([np.unique(observation, return_inverse=True)[1].astype(np.int64), group.astype(np.int64)])
        repeated = len(group) - np.unique(keys, axis=1).shape[1]
        if not repeated:
            return ()
        mend = "Materialize customer_features again; see that the population has one row per customer."
        return (Leak("duplicates", "customer_id", f"{repeated:,} rows repeat a customer at its date.", mend),)
    hashes = {name: hashed(name, values) for name, values in columns.items()}
    with np.errstate(over="ignore"):
        whole = np.sum(np.stack(list(hashes.values())), axis=0, dtype=np.uint64)
    content = np.unique(whole, return_inverse=True)[1]
    pairs = len(np.unique(np.stack([content, np.unique(group, return_inverse=True)[1]]), axis=1).T)
    if split := pairs - (int(content.max()) + 1):
        mend = "Rows of equal content must share a fold: materialize training_set again."
        return (Leak("duplicates", "all columns", f"{split:,} equal rows are in different groups.", mend),)
    distinct = int(content.max()) + 1
    found = []
    for name in columns:
        if len(np.unique(hashes[name])) < LIKE_AN_ID * distinct or len(columns) < 3:
            continue
        copies, chance = _copies(name, hashes, y, distinct)
        if copies > COPIES * distinct + 2 * chance:
            found.append(
                Leak(
                    "duplicates",
                    name,
                    f"without it {copies:,} of {distinct:,} rows ({copies / distinct:.1%}) repeat another one, label "
                    "and all: copies would be learned from in one fold and judged in another.",
                    "Take the column out of the contract if it numbers rows, and deliver each customer once: resample "
                    "nothing before the split.",
                )
            )
    return tuple(found)


def _copies(name: str, hashes: Mapping[str, npt.NDArray[np.uint64]], y: Array, distinct: int) -> tuple[int, int]:
    """Different rows that are equal without the column ``name``, label and all; and how many are so by chance, which is
    what is left when the richest of the other columns is shuffled: a plan and a region repeat without anybody
    copying rows."""
    others = {other: values for other, values in hashes.items() if other != name}
    richest = max(others, key=lambda other: len(np.unique(others[other])))
    shuffled = np.random.default_rng(0).permutation(others[richest])
    with np.errstate(over="ignore"):
        label = np.where(y == 1, np.uint64(1), np.uint64(2)) * np.uint64(0xD6E8FEB86659FD93)
        rest = np.sum(np.stack([label, *others.values()]), axis=0, dtype=np.uint64)
        mixed = rest - others[richest] + shuffled
    return distinct - min(distinct, len(np.unique(rest))), len(y) - len(np.unique(mixed))


def hashed(name: str, values: Array) -> npt.NDArray[np.uint64]:
    """64-bit hashes of a column's values, of which sums tell rows apart: one for each column, so that none cancel."""
    import pandas as pd

    text = values.dtype.kind == "O"
    made = pd.util.hash_array(np.where(_missing(values), "\x00", values) if text else values + 0.0)
    with np.errstate(over="ignore"):
        return np.asarray(made, dtype=np.uint64) * np.uint64(2 * zlib.crc32(name.encode()) + 1)
