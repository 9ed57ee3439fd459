"""The champion as one frozen object: features in, whole answers out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from churn_platform.champion.model import ChampionModel, Scored
from churn_platform.champion.package import load_package
from churn_platform.evaluation.profit import expected_loss
from churn_platform.features.catalogue import VALUE_COLUMN
from churn_platform.records.ids import uuid7
from churn_platform.serving.schemas import Degraded, FeatureInfo, ModelInfo, Prediction

REASONS: Final = 5
CHAMPION: Final = "champion"


@dataclass(frozen=True)
class Scorer:
    """One model, ready to answer. Immutable: a new model is a new scorer.

    Attributes:
        model: the verified package.
        name, version: as in the model registry; ``version`` goes into every answer.
        variant: its place in the rollout.
        kinds: what a request may give: feature → "number" or "category". Monthly revenue is always among
            them: it weighs the loss even where the model does not read it.
        info: how the model is described to callers.
        reads: names of the features that it reads.
    """

    model: ChampionModel
    name: str
    version: str
    variant: str
    kinds: Mapping[str, str]
    info: ModelInfo
    reads: frozenset[str]

    @classmethod
    def load(
        cls,
        package: Path,
        *,
        name: str | None = None,
        version: str | None = None,
        variant: str = CHAMPION,
        digest: str | None = None,
    ) -> Self:
        """Load and verify a package, and score one row of unknowns, so that the first caller does not wait.

        Args:
            name, version: as in the registry; without them the problem's name and the digest's first 12
                digits.
            digest: of the model that is expected there, where it is known.

        Raises:
            PackageError: incomplete, foreign or altered.
        """
        model = load_package(package, digest=digest)
        name = name or str(model.metadata.get("problem", "churn"))
        version = version or model.version_digest[:12]
        kinds = {VALUE_COLUMN: "number"} | {feature.name: feature.kind for feature in model.features}
        reads = frozenset(feature.name for feature in model.features)
        scorer = cls(model, name, version, variant, kinds, _describe(model, name, version, variant), reads)
        scorer.model.score([{}]).reasons(0, REASONS)
        return scorer

    def answer(
        self,
        values: Mapping[str, Any],
        *,
        customer_id: str | None,
        as_of: datetime | None,
        degraded: Degraded | None = None,
    ) -> Prediction:
        """Score and explain one customer; see :meth:`answers`."""
        return self.answers([values], [customer_id], as_of=as_of, degraded=degraded)[0]

    def answers(
        self,
        rows: Sequence[Mapping[str, Any]],
        customer_ids: Sequence[str | None],
        *,
        as_of: datetime | None,
        degraded: Degraded | None = None,
    ) -> list[Prediction]:
        """Score and explain customers, with one call of the model.

        Args:
            rows: n mappings of feature → value; a feature that is left out, or ``None``, is unknown.
            customer_ids: n ids of the company, given back as they are.
            as_of: the time of the features (aware); None where they have none.
            degraded: why the features cannot be trusted now, or None.

        Raises:
            FeatureError: a value is not of its feature's kind.
        """
        scored = self.model.score(rows)
        return [
            self._answer(scored, i, row, customer_id, as_of, degraded)
            for i, (row, customer_id) in enumerate(zip(rows, customer_ids, strict=True))
        ]

    def _answer(
        self,
        scored: Scored,
        i: int,
        row: Mapping[str, Any],
        customer_id: str | None,
        as_of: datetime | None,
        degraded: Degraded | None,
    ) -> Prediction:
        probability = float(scored.probability[i])
        contributions = scored.contributions[i].tolist()
        return Prediction(
            prediction_id=str(uuid7()),
            customer_id=customer_id,
            probability=probability,
            margin=float(scored.margin[i]),
            base_value=float(scored.base_value),
            contributions={
                feature.name: part for feature, part in zip(self.model.features, contributions, strict=True)
            },
            reasons=scored.reasons(i, REASONS),
            risk_band=scored.risk_band(i),
            revenue_at_risk=revenue_at_risk(probability, row.get(VALUE_COLUMN)),
            model_version=self.version,
            variant=self.variant,
            as_of=as_of,
            degraded=degraded,
        )


def revenue_at_risk(probability: float, monthly_revenue: float | None) -> float | None:
    """The expected loss (:func:`~churn_platform.evaluation.profit.expected_loss`), in the contract's currency; ``None``
    where the revenue is unknown, or so large that the loss is no finite number."""
    if monthly_revenue is None or monthly_revenue != monthly_revenue:
        return None
    with np.errstate(over="ignore"):
        loss = float(expected_loss(np.array([probability]), np.array([monthly_revenue]))[0])
    return round(loss, 2) if math.isfinite(loss) else None


def _describe(model: ChampionModel, name: str, version: str, variant: str) -> ModelInfo:
    return ModelInfo(
        name=name,
        version=version,
        digest=model.version_digest,
        variant=variant,
        weight=1.0,
        features=[
            FeatureInfo(name=f.name, kind=f.kind, family=f.family, label=f.label, unit=f.unit) for f in model.features
        ],
        metadata=dict(model.metadata),
    )
