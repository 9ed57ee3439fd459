"""A small, real model package: LightGBM trained on made customers, written by the platform's own writer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from churn_platform.features.catalogue import Feature
from churn_platform.training.calibration import Platt
from churn_platform.training.encode import FeatureEncoder
from churn_platform.training.learners import ForestLearner
from churn_platform.training.packaging import Parts, profile_features, write_package

FEATURES = (
    Feature("logins_30d", "usage", "number", "logins in the last 30 days", "logins", "", "zero", 0),
    Feature("tenure_days", "contract", "number", "days since signup", "days", "", "unknown", 0),
    Feature("seats_used", "usage", "number", "share of seats in use", "share", "", "unknown", 2),
    Feature("plan", "contract", "category", "plan", "", "", "unknown", 0),
)
NAMES = tuple(feature.name for feature in FEATURES)


def make_columns(rows: int, seed: int = 0) -> dict[str, Any]:
    """Columns of made customers: numbers with holes and one category."""
    rng = np.random.default_rng(seed)
    logins = rng.poisson(20, rows).astype(float)
    logins[rng.random(rows) < 0.05] = np.nan
    plans = np.array(["basic", "team", "enterprise"], dtype=object)
    return {
        "logins_30d": logins,
        "tenure_days": rng.integers(1, 2000, rows).astype(float),
        "seats_used": rng.random(rows),
        "plan": plans[rng.integers(0, 3, rows)],
    }


def make_package(folder: Path, *, seed: int = 0, trees: int = 20) -> str:
    """Train on 3,000 made customers and write the package; returns its digest."""
    columns = make_columns(3000, seed)
    rng = np.random.default_rng(seed + 1)
    pull = -1.0 - 0.1 * (np.nan_to_num(columns["logins_30d"], nan=20.0) - 20) - 1.5 * (columns["seats_used"] - 0.5)
    y = (rng.random(3000) < 1 / (1 + np.exp(-pull))).astype(np.int8)
    encoder = FeatureEncoder.fit(FEATURES, columns)
    encoded = encoder.transform(columns)
    params = {"learning_rate": 0.1, "num_leaves": 7}
    model = ForestLearner(tuple(encoder.categorical), params, trees, seed, 1).fit(encoded, y)
    platt = Platt(0.9, -0.05)
    return write_package(
        folder,
        Parts(
            features=FEATURES,
            encoder=encoder,
            calibration=platt,
            forest=model.forest_text(),
            linear=None,
            weights={"forest": 1.0},
            profile=profile_features(FEATURES, columns),
            reference=encoded[:8],
            reference_margins=platt(model.margin(encoded[:8])),
            metadata={
                "problem": "churn",
                "currency": "USD",
                "horizon_days": 30,
                "base_rate": float(y.mean()),
                "tier": "full",
            },
        ),
    )
