"""The linear member: log-odds linear in imputed, clipped, scaled features; NumPy only, stored as JSON.

Its Shapley values against the training mean are weight × (value − mean), with the columns of one feature (a
category's levels, a number and its missing flag) summed: exact, because the model is linear.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from churn_platform.errors import TrainingError
from churn_platform.training.encode import FeatureEncoder, Floats

_FEW_VALUES = 20  # a number with so few distinct values is not clipped: its rare values are its information


@dataclass(frozen=True)
class _Number:
    """Fill, clip, scale; and a flag for "was missing" where training had both."""

    position: int
    fill: float
    low: float
    high: float
    centre: float
    scale: float
    flagged: bool

    @property
    def width(self) -> int:
        return 1 + self.flagged

    def columns(self, encoded: Floats) -> Floats:
        raw = encoded[:, self.position]
        missing = np.isnan(raw)
        scaled = (np.clip(np.where(missing, self.fill, raw), self.low, self.high) - self.centre) / self.scale
        return np.column_stack([scaled, missing]) if self.flagged else scaled[:, None]


@dataclass(frozen=True)
class _Category:
    """One column a level; a missing or unseen one is none of them."""

    position: int
    levels: int

    @property
    def width(self) -> int:
        return self.levels

    def columns(self, encoded: Floats) -> Floats:
        return np.asarray(encoded[:, self.position][:, None] == np.arange(self.levels), dtype=np.float64)


class LinearDesign:
    """Encoded features (n, d) to the columns of a linear model (n, D), and which columns belong to which
    feature."""

    def __init__(self, terms: Sequence[_Number | _Category]) -> None:
        self.terms = tuple(terms)
        ends = np.cumsum([term.width for term in self.terms])
        self.slices = [slice(int(end) - term.width, int(end)) for end, term in zip(ends, self.terms, strict=True)]
        self.width = int(ends[-1]) if len(ends) else 0

    @classmethod
    def fit(cls, encoder: FeatureEncoder, encoded: Floats) -> LinearDesign:
        """Learn medians, clipping limits (0.1 % at either end) and scales from training rows."""
        terms: list[_Number | _Category] = []
        for position, feature in enumerate(encoder.features):
            if feature.kind == "category":
                terms.append(_Category(position, len(encoder.levels[feature.name])))
                continue
            values = encoded[:, position]
            known = values[~np.isnan(values)]
            if not len(known):
                terms.append(_Number(position, 0.0, 0.0, 0.0, 0.0, 1.0, False))
                continue
            limits = (0.0, 1.0) if len(np.unique(known)) <= _FEW_VALUES else (0.001, 0.999)
            low, high = (float(q) for q in np.quantile(known, limits))
            fill = float(np.median(known))
            filled = np.clip(np.where(np.isnan(values), fill, values), low, high)
            spread = float(filled.std())
            terms.append(
                _Number(position, fill, low, high, float(filled.mean()), spread or 1.0, len(known) < len(values))
            )
        return cls(terms)

    def matrix(self, encoded: Floats) -> Floats:
        """The columns for encoded rows: shape (n, D)."""
        return np.column_stack([term.columns(encoded) for term in self.terms])

    def to_json(self) -> list[dict[str, Any]]:
        return [{"kind": type(term).__name__.strip("_").lower(), **vars(term)} for term in self.terms]

    @classmethod
    def from_json(cls, value: Sequence[Mapping[str, Any]]) -> LinearDesign:
        kinds = {"number": _Number, "category": _Category}
        return cls([kinds[term["kind"]](**{k: v for k, v in term.items() if k != "kind"}) for term in value])


class LinearMember:
    """Log-odds = intercept + Σ weight × column, explained against the training mean.

    Args:
        design: how columns are made.
        weights: one a column (D).
        means: mean of each column over the training rows (D).
        intercept: log-odds at columns of zero.
    """

    def __init__(self, design: LinearDesign, weights: Floats, means: Floats, intercept: float) -> None:
        if not len(weights) == len(means) == design.width:
            raise TrainingError(
                f"A linear member of {design.width} columns got {len(weights)} weights.",
                mend="Use design and weights of one fit.",
            )
        self.design, self.weights, self.means, self.intercept = design, weights, means, float(intercept)

    @property
    def base(self) -> float:
        """Log-odds of the training mean."""
        return self.intercept + float(self.means @ self.weights)

    def margin(self, encoded: Floats) -> Floats:
        """Log-odds of encoded rows: (n, d) → (n). Summed column by column, so that a row's value is always
        the same."""
        total = np.full(len(encoded), self.intercept)
        for term, place in zip(self.design.terms, self.design.slices, strict=True):
            for column, weight in zip(term.columns(encoded).T, self.weights[place], strict=True):
                total += weight * column
        return total

    def contributions(self, encoded: Floats) -> Floats:
        """Shapley values in log-odds against the training mean: (n, d) → (n, d)."""
        found = np.zeros(encoded.shape)
        for term, place in zip(self.design.terms, self.design.slices, strict=True):
            for column, weight, mean in zip(
                term.columns(encoded).T, self.weights[place], self.means[place], strict=True
            ):
                found[:, term.position] += weight * (column - mean)
        return found

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": "linear_member/1",
            "terms": self.design.to_json(),
            "weights": self.weights.tolist(),
            "means": self.means.tolist(),
            "intercept": self.intercept,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LinearMember:
        return cls(
            LinearDesign.from_json(value["terms"]),
            np.array(value["weights"], dtype=np.float64),
            np.array(value["means"], dtype=np.float64),
            value["intercept"],
        )
