"""The champion as one frozen object: scores, exact explanations, reasons. Imports neither lightgbm's Python
package nor scikit-learn, pandas or MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from churn_platform.champion.native import NativeForest
from churn_platform.champion.reasons import RiskBand, risk_band, top_reasons
from churn_platform.evaluation.metrics import sigmoid
from churn_platform.features.catalogue import Feature
from churn_platform.training.calibration import Platt
from churn_platform.training.encode import Columns, FeatureEncoder, Floats, Rows
from churn_platform.training.linear import LinearMember


@dataclass(frozen=True)
class Scored:
    """What a model says about n customers.

    Attributes:
        probability: of voluntary churn within the horizon, calibrated: sigmoid(margin) (n).
        margin: calibrated log-odds (n).
        base_value: log-odds of the average training row.
        contributions: Shapley values in calibrated log-odds (n, d): base_value + Σ = margin within 1e-9.
            Shape (0, d) where they were not asked for.
    """

    probability: Floats
    margin: Floats
    base_value: float
    contributions: Floats
    _model: ChampionModel
    _data: Columns | Rows

    def __len__(self) -> int:
        return len(self.margin)

    def reasons(self, i: int, k: int = 5) -> list[str]:
        """Up to ``k`` sentences on the i-th customer, strongest first."""
        return top_reasons(
            self._model.features,
            self._values(i),
            self.contributions[i],
            self._model.profile,
            k=k,
            currency=str(self._model.metadata.get("currency", "")),
        )

    def risk_band(self, i: int) -> RiskBand:
        """The i-th customer's odds against the average customer's, as a word."""
        return risk_band(float(self.margin[i]), self._model.base_rate)

    def _values(self, i: int) -> Mapping[str, Any]:
        if isinstance(self._data, Mapping):
            return {name: column[i] for name, column in self._data.items()}
        return self._data[i]


@dataclass(frozen=True)
class ChampionModel:
    """A loaded, verified model. Immutable, and safe to use from several threads.

    raw margin = Σ weight · member's log-odds; margin = slope · raw + intercept (Platt).

    Attributes:
        version_digest: digest of the package (its manifest).
        features: what it reads, in order.
        profile: what is typical of each feature in the training rows.
        metadata: facts about the training.
    """

    version_digest: str
    features: tuple[Feature, ...]
    encoder: FeatureEncoder
    calibration: Platt
    forest: NativeForest | None
    linear: LinearMember | None
    weights: Mapping[str, float]
    profile: Mapping[str, Any]
    metadata: Mapping[str, Any]

    @property
    def base_rate(self) -> float:
        """Share of leavers in the training rows."""
        return float(self.metadata["base_rate"])

    def score(self, data: Columns | Rows, *, explain: bool = True, threads: int = 1) -> Scored:
        """Score n customers: rows as mappings, or columns by feature name. Unknown features may be left out.

        Args:
            explain: also compute contributions, which cost more than the score itself.

        Raises:
            FeatureError: for a value that is not of its feature's kind; ``field`` names the feature.
        """
        encoded = self._known(self.encoder.transform(data))
        margin = self.margins(encoded, threads=threads)
        contributions = self.contributions(encoded, threads=threads) if explain else np.empty((0, len(self.features)))
        return Scored(
            probability=sigmoid(margin),
            margin=margin,
            base_value=self.base_value,
            contributions=contributions,
            _model=self,
            _data=data,
        )

    @cached_property
    def _typical(self) -> Floats:
        """For each feature that training knew of everyone, its typical encoded value; NaN for the others (d).

        Trees that never saw an unknown value read it as 0, which may be the most unusual value there is.
        """
        typical = np.full(len(self.features), np.nan)
        for i, feature in enumerate(self.features):
            seen = self.profile.get(feature.name, {})
            if seen.get("missing", 1) > 0:
                continue
            if feature.kind == "number":
                typical[i] = np.nan if seen.get("median") is None else float(seen["median"])
            elif seen.get("top") in self.encoder.levels[feature.name]:
                typical[i] = float(self.encoder.levels[feature.name].index(seen["top"]))
        return typical

    def _known(self, encoded: Floats) -> Floats:
        """Encoded rows in which unknown values that training never saw are the typical ones: (n, d) → (n, d)."""
        return np.where(np.isnan(encoded), self._typical, encoded)

    @property
    def base_value(self) -> float:
        """Calibrated log-odds of the average training row: what contributions are counted from."""
        raw = 0.0
        if self.forest is not None:
            raw += self.weights["forest"] * self.forest.expected
        if self.linear is not None:
            raw += self.weights["linear"] * self.linear.base
        return self.calibration.slope * raw + self.calibration.intercept

    def margins(self, encoded: Floats, *, threads: int = 1) -> Floats:
        """Calibrated log-odds of encoded rows: (n, d) → (n)."""
        raw = np.zeros(len(encoded))
        if self.forest is not None:
            raw += self.weights["forest"] * self.forest.margin(encoded, threads=threads)
        if self.linear is not None:
            raw += self.weights["linear"] * self.linear.margin(encoded)
        return self.calibration(raw)

    def contributions(self, encoded: Floats, *, threads: int = 1) -> Floats:
        """Shapley values in calibrated log-odds of encoded rows: (n, d) → (n, d).

        Platt's line is linear in the margin, and so is the sum over members: Shapley values follow both
        exactly.
        """
        raw = np.zeros(encoded.shape)
        if self.forest is not None:
            raw += self.weights["forest"] * self.forest.contributions(encoded, threads=threads)[:, :-1]
        if self.linear is not None:
            raw += self.weights["linear"] * self.linear.contributions(encoded)
        return self.calibration.slope * raw
