"""Population stability of columns against a reference that carries its bins and smoothing. Pure functions.

A PSI is comparable only between equal binnings: edges, categories and smoothing are fitted once, on the
reference, and travel with it (:class:`Reference`, JSON).

Sources: Siddiqi, *Credit Risk Scorecards* (2006) for the index and the thresholds .1 and .25; Yurdakul,
*Statistical Properties of Population Stability Index* (2018) for its distribution where nothing has changed:
PSI / (1/n + 1/m) is about chi-squared with bins - 1 degrees of freedom.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from churn_platform.errors import FeatureError

Kind = Literal["number", "category"]
Verdict = Literal["stable", "moderate", "shifted", "inconclusive", "empty"]

SCHEMA = "drift-reference/1"
MODERATE = 0.10  # above: worth a look
SHIFTED = 0.25  # above: another population
SMOOTHING = 0.5  # pseudo-count per bin: an empty bin neither divides by zero nor decides the index alone
NUMBER_BINS = 10
MAX_CATEGORIES = 30
# A value is named from so many rows on, in number and in share: a rarer text could name a customer.
MIN_CATEGORY_ROWS = 10
MIN_CATEGORY_SHARE = 0.001
OTHER = "(other)"
MISSING = "(missing)"


@dataclass(frozen=True)
class ColumnReference:
    """Bins and counts of one column of the reference.

    Attributes:
        edges: number: ascending upper edges; bin i holds ``edges[i-1] < x <= edges[i]``; one more bin above.
        categories: category: the most frequent values, in order; rare and new ones are "(other)".
        counts: rows per bin; the last bin is the missing values.
    """

    name: str
    kind: Kind
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()

    @property
    def rows(self) -> int:
        return sum(self.counts)

    @property
    def missing_share(self) -> float:
        return self.counts[-1] / self.rows if self.rows else math.nan

    @property
    def labels(self) -> tuple[str, ...]:
        """What each bin holds, in words."""
        if self.kind == "category":
            return (*self.categories, OTHER, MISSING)
        if not self.edges:
            return ("any", MISSING)
        inner = [f"{low:g} < x <= {high:g}" for low, high in zip(self.edges, self.edges[1:], strict=False)]
        return (f"x <= {self.edges[0]:g}", *inner, f"x > {self.edges[-1]:g}", MISSING)


@dataclass(frozen=True)
class Reference:
    """What the columns looked like when the model learned, and the smoothing."""

    columns: Mapping[str, ColumnReference]
    smoothing: float = SMOOTHING

    def to_json(self) -> dict[str, Any]:
        """A JSON value that :meth:`from_json` reads back to an equal reference."""
        return {
            "schema": SCHEMA,
            "smoothing": self.smoothing,
            "columns": [
                {
                    "name": c.name,
                    "kind": c.kind,
                    "edges": list(c.edges),
                    "categories": list(c.categories),
                    "counts": list(c.counts),
                }
                for c in self.columns.values()
            ],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Reference:
        """Read what :meth:`to_json` wrote.

        Raises:
            FeatureError: for another schema.
        """
        if value.get("schema") != SCHEMA:
            raise FeatureError(
                f"The drift reference has the schema {value.get('schema')!r}, not {SCHEMA!r}.",
                mend="Make the drift report again: it writes a new reference.",
                field="schema",
            )
        columns = [
            ColumnReference(
                c["name"],
                c["kind"],
                tuple(c["edges"]),
                tuple(c["categories"]),
                tuple(int(n) for n in c["counts"]),
            )
            for c in value["columns"]
        ]
        return cls({c.name: c for c in columns}, float(value["smoothing"]))


@dataclass(frozen=True)
class ColumnDrift:
    """How far one column has moved.

    Attributes:
        psi: population stability index, 0 = same; NaN where a side is empty.
        noise: what the PSI stays below 99 times in 100 where nothing has changed, for independent rows.
        verdict: "inconclusive" is a PSI above a threshold that so few rows would give by chance; "empty" is a
            side without rows, or a column without any value now that had some before (or the reverse).
        missing_before, missing_now: shares in [0, 1].
        largest: the bin that contributes most, in words.
    """

    name: str
    kind: Kind
    psi: float
    noise: float
    verdict: Verdict
    missing_before: float
    missing_now: float
    largest: str = ""


def _numbers(values: NDArray[Any] | Sequence[Any]) -> NDArray[np.float64]:
    array = np.asarray(values)
    if array.dtype == object:
        return np.array([math.nan if v is None else float(v) for v in array], dtype=np.float64)
    return array.astype(np.float64, copy=False)


def _texts(values: NDArray[Any] | Sequence[Any]) -> tuple[Counter[str], int]:
    """How often each text occurs, and how many values are missing (None, NaN or "")."""
    tally: Counter[str] = Counter()
    missing = 0
    for value, count in Counter(np.asarray(values, dtype=object).tolist()).items():
        if value is None or value == "" or value != value:
            missing += count
        else:
            tally[str(value)] += count
    return tally, missing


def _edges(values: NDArray[np.float64], bins: int) -> tuple[float, ...]:
    """Quantile edges; a value that holds a bin's share of the rows or more gets a bin of its own.

    Without that, a constant that changes its value, or zeros that move below zero, would stay in their bin.
    """
    if not values.size:
        return ()
    unique, counts = np.unique(values, return_counts=True)
    places = np.searchsorted(np.cumsum(counts), np.arange(1, bins) / bins * values.size)
    edges: set[float] = set(unique[places].tolist())
    for heavy in unique[counts * bins >= values.size].tolist():
        edges |= {float(np.nextafter(heavy, -np.inf)), heavy}
    return tuple(sorted(edge for edge in edges if math.isfinite(edge)))


def _count(column: ColumnReference, values: NDArray[Any] | Sequence[Any]) -> NDArray[np.int64]:
    if column.kind == "number":
        numbers = _numbers(values)
        known = numbers[~np.isnan(numbers)]
        found = np.bincount(np.searchsorted(column.edges, known, side="left"), minlength=len(column.edges) + 1)
        return np.append(found, numbers.size - known.size).astype(np.int64)
    tally, missing = _texts(values)
    place = {name: index for index, name in enumerate(column.categories)}
    result = np.zeros(len(column.categories) + 2, dtype=np.int64)
    for name, count in tally.items():
        result[place.get(name, len(column.categories))] += count
    result[-1] = missing
    return result


def fit_column(
    name: str,
    kind: Kind,
    values: NDArray[Any] | Sequence[Any],
    *,
    bins: int = NUMBER_BINS,
    max_categories: int = MAX_CATEGORIES,
) -> ColumnReference:
    """Fit the bins of one column on its reference ``values`` (shape (n,); missing: None, NaN); count them."""
    if kind == "number":
        numbers = _numbers(values)
        empty = ColumnReference(name, kind, edges=_edges(numbers[~np.isnan(numbers)], bins))
    else:
        tally, _ = _texts(values)
        enough = max(MIN_CATEGORY_ROWS, MIN_CATEGORY_SHARE * len(values))
        common = [text for text, count in tally.items() if count >= enough]
        order = sorted(common, key=lambda text: (-tally[text], text))[:max_categories]
        empty = ColumnReference(name, kind, categories=tuple(order))
    return ColumnReference(name, kind, empty.edges, empty.categories, tuple(_count(empty, values).tolist()))


def fit(columns: Mapping[str, NDArray[Any]], kinds: Mapping[str, Kind], *, smoothing: float = SMOOTHING) -> Reference:
    """Fit a reference on columns of shape (n,) each."""
    return Reference({name: fit_column(name, kinds[name], values) for name, values in columns.items()}, smoothing)


def psi(before: Sequence[int] | NDArray[Any], now: Sequence[int] | NDArray[Any], smoothing: float = SMOOTHING) -> float:
    """Population stability index of two rows of counts over the same bins (shape (k,) each).

    PSI = Σ (qᵢ - pᵢ) ln(qᵢ / pᵢ) with p, q the shares after ``smoothing`` pseudo-counts per bin. Symmetric,
    >= 0, in nats; NaN where one side has no rows.
    """
    return float(_terms(np.asarray(before, float), np.asarray(now, float), smoothing).sum())


def _terms(before: NDArray[np.float64], now: NDArray[np.float64], smoothing: float) -> NDArray[np.float64]:
    if not before.sum() or not now.sum():
        return np.full(before.shape, math.nan)
    p = (before + smoothing) / (before.sum() + smoothing * before.size)
    q = (now + smoothing) / (now.sum() + smoothing * now.size)
    terms: NDArray[np.float64] = (q - p) * np.log(q / p)
    return terms


def noise_level(used_bins: int, rows_before: int, rows_now: int) -> float:
    """The PSI that chance alone stays below 99 times in 100 (Wilson–Hilferty's chi-squared quantile)."""
    freedom = max(used_bins - 1, 1)
    if not rows_before or not rows_now:
        return math.nan
    spread = 2 / (9 * freedom)
    quantile = freedom * (1 - spread + 2.3263 * math.sqrt(spread)) ** 3
    return quantile * (1 / rows_before + 1 / rows_now)


def verdict(value: float, noise: float) -> Verdict:
    """What a PSI means, by :data:`MODERATE` and :data:`SHIFTED`, unless chance could give as much."""
    if math.isnan(value):
        return "empty"
    if value <= MODERATE:
        return "stable"
    if value <= noise:
        return "inconclusive"
    return "shifted" if value > SHIFTED else "moderate"


def compare_column(
    column: ColumnReference, values: NDArray[Any] | Sequence[Any], *, smoothing: float = SMOOTHING
) -> ColumnDrift:
    """Compare the values of one column now (shape (n,)) with its reference."""
    before = np.asarray(column.counts, dtype=np.float64)
    now = _count(column, values).astype(np.float64)
    terms = _terms(before, now, smoothing)
    value = float(terms.sum())
    noise = noise_level(int(np.count_nonzero(before + now)), int(before.sum()), int(now.sum()))
    one_side_empty = (before[:-1].sum() == 0) != (now[:-1].sum() == 0)
    judged: Verdict = "empty" if one_side_empty else verdict(value, noise)
    return ColumnDrift(
        name=column.name,
        kind=column.kind,
        psi=value,
        noise=noise,
        verdict=judged,
        missing_before=float(before[-1] / before.sum()) if before.sum() else math.nan,
        missing_now=float(now[-1] / now.sum()) if now.sum() else math.nan,
        largest="" if math.isnan(value) or value == 0 else column.labels[int(np.argmax(terms))],
    )


def compare(reference: Reference, columns: Mapping[str, NDArray[Any]]) -> list[ColumnDrift]:
    """Compare every reference column that ``columns`` has, most moved first.

    Raises:
        FeatureError: if a column of the reference is not in ``columns``.
    """
    absent = [name for name in reference.columns if name not in columns]
    if absent:
        raise FeatureError(
            f"The current features lack {', '.join(absent)}, which the reference has.",
            mend="Compare months of one feature catalogue, or make the reference again.",
            field=absent[0],
        )
    found = [compare_column(c, columns[name], smoothing=reference.smoothing) for name, c in reference.columns.items()]
    return by_size(found)


def by_size(found: Sequence[ColumnDrift]) -> list[ColumnDrift]:
    """Empty columns first (a feed may be missing), then by PSI, largest first."""
    return sorted(found, key=lambda d: (d.verdict != "empty", -(d.psi if not math.isnan(d.psi) else 0.0), d.name))


def share_drifted(found: Sequence[ColumnDrift]) -> float:
    """Share of columns whose verdict is "shifted" or "empty", in [0, 1]; 0 for no columns."""
    return sum(d.verdict in ("shifted", "empty") for d in found) / len(found) if found else 0.0
