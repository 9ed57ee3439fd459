"""The bodies of the API, as structs: what is decoded, encoded and documented is one thing."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from churn_platform.champion.reasons import RiskBand

Probability = Annotated[float, Meta(ge=0, le=1)]


class PredictRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Exactly one of the two.

    Attributes:
        customer_id: the company's own id; the newest features are looked up in the online store.
        features: feature name → number, text, or null for unknown; features left out are unknown.
    """

    customer_id: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    features: dict[str, float | str | None] | None = None


class Degraded(msgspec.Struct, frozen=True, kw_only=True):
    """Why an answer is not as good as it should be.

    Attributes:
        reason: one sentence.
        feeds: the tables that have dried up.
        since: the observation month that was found faulty.
    """

    reason: str
    feeds: list[str]
    since: str


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. ``base_value`` plus the sum of ``contributions`` is ``margin``, within 1e-9.

    Attributes:
        prediction_id: UUIDv7.
        customer_id: the company's own id as given; null for a request by features.
        probability: calibrated probability of voluntary churn within the horizon.
        margin: log-odds that the probability belongs to.
        base_value: the margin of an average training row.
        contributions: feature → log-odds; exact Shapley values.
        reasons: what moves this customer's risk most, in words, strongest first.
        risk_band: by the odds against the average customer of the training data.
        revenue_at_risk: probability × monthly recurring revenue, in the contract's currency; null where
            unknown.
        model_version: version of the model that answered, as in the registry and in GET /v1/models.
        variant: which variant of a rollout answered.
        as_of: the observation time of the features (by id; null for a flat file, which has none), or
            the time of the request (by features).
        degraded: null, or why the features that this stands on cannot be trusted now.
    """

    prediction_id: str
    customer_id: str | None
    probability: Probability
    margin: float
    base_value: float
    contributions: dict[str, float]
    reasons: list[str]
    risk_band: RiskBand
    revenue_at_risk: float | None
    model_version: str
    variant: str
    as_of: datetime | None
    degraded: Degraded | None = None


class CustomerFeatures(msgspec.Struct, frozen=True, kw_only=True):
    """The online vector of one customer: exactly what a prediction by id is made from.

    Attributes:
        customer_id: the company's own id as given.
        as_of: the newest time of the vector's views; null for a flat file, which has none.
        generation: number of the materialization that it is of; all its views are of the same.
        layout: 16 hexadecimal digits that name the list of features.
        view_times: view → the time of its row; a pushed row is newer than the observation date.
        features: feature name → number, text or null (unknown).
    """

    customer_id: str
    as_of: datetime | None
    generation: int | None
    layout: str | None
    view_times: dict[str, datetime]
    features: dict[str, float | str | None]


class FeatureInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A feature that the model reads."""

    name: str
    kind: Literal["number", "category"]
    family: str
    label: str
    unit: str


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A model that answers.

    Attributes:
        name, version: as in the model registry.
        digest: SHA-256 of the package's manifest: the bytes that are served.
        variant: its place in the rollout.
        weight: its share of the requests, in [0, 1].
        features: what it reads, in the model's order.
        metadata: what its package records about its making.
    """

    name: str
    version: str
    digest: str
    variant: str
    weight: Probability
    features: list[FeatureInfo]
    metadata: dict[str, Any]


class Models(msgspec.Struct, frozen=True):
    """All models that answer now."""

    models: list[ModelInfo]
