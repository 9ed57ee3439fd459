"""What a challenger is made with: a learner with its parameters fixed, which fits rows and gives a model of
margins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from churn_platform.evaluation.metrics import Array
from churn_platform.training import boosting
from churn_platform.training.encode import FeatureEncoder, Floats
from churn_platform.training.linear import LinearMember
from churn_platform.training.logistic import fit_logistic


class Model(Protocol):
    """A fitted member: raw log-odds, and the forms in which a package holds it."""

    def margin(self, encoded: Floats) -> Floats:
        """Log-odds before calibration: (n, d) → (n)."""

    def forest_text(self) -> str | None:
        """LightGBM's text, for a forest."""

    def linear_member(self) -> LinearMember | None:
        """The linear member, for a linear model."""


class Learner(Protocol):
    """Fits a model from encoded rows; all parameters are fixed."""

    def fit(self, encoded: Floats, y: Array) -> Model:
        """A model of rows (n, d) and outcomes (n)."""

    def describe(self) -> dict[str, Any]:
        """Name and parameters, as JSON."""


@dataclass(frozen=True)
class _Forest:
    booster: Any
    threads: int

    def margin(self, encoded: Floats) -> Floats:
        return boosting.raw_margin(self.booster, encoded, threads=self.threads)

    def forest_text(self) -> str:
        return boosting.text(self.booster)

    def linear_member(self) -> None:
        return None


@dataclass(frozen=True)
class ForestLearner:
    """LightGBM with fixed parameters and number of trees."""

    categorical: tuple[int, ...]
    params: Mapping[str, Any]
    rounds: int
    seed: int
    threads: int

    def fit(self, encoded: Floats, y: Array) -> _Forest:
        data = boosting.dataset(encoded, y, self.categorical)
        booster = boosting.fit(data, self.params, self.rounds, seed=self.seed, threads=self.threads)
        return _Forest(booster, self.threads)

    def describe(self) -> dict[str, Any]:
        return {"name": "lightgbm", "rounds": self.rounds, **self.params}


@dataclass(frozen=True)
class _Linear:
    fitted: LinearMember

    def margin(self, encoded: Floats) -> Floats:
        return self.fitted.margin(encoded)

    def forest_text(self) -> None:
        return None

    def linear_member(self) -> LinearMember:
        return self.fitted


@dataclass(frozen=True)
class LinearLearner:
    """Ridge-penalised logistic regression of fixed strength."""

    encoder: FeatureEncoder
    c: float

    def fit(self, encoded: Floats, y: Array) -> _Linear:
        return _Linear(fit_logistic(self.encoder, encoded, y, self.c))

    def describe(self) -> dict[str, Any]:
        return {"name": "logistic_regression", "c": self.c}
